"""sqlmap over forms, JSON bodies, queries, paths and the cookie."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import judge
from target import PASSWORD, Target


@dataclass(frozen=True)
class Place:
    """One request, and which of its parameters are tried; none named where a star marks the place."""

    name: str
    path: str
    parameters: tuple[str, ...]
    body: dict[str, object] | str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def places(target: Target) -> list[Place]:
    ada, key = target.customer(), target.operator_key()
    operator = {"Authorization": f"Bearer {key}"}
    customer = {"Authorization": f"Bearer {ada.token}"}
    page = f"{target.base}/account"
    order = {"customer_id": ada.customer_id, "plan": "professional", "interval": "month", "currency": "usd", "success_url": page, "cancel_url": page}
    return [
        Place("check out", "/api/subscriptions/checkout", tuple(order), order, headers=customer),
        Place("log in", "/api/customers/login", ("email", "password"), {"email": ada.email, "password": PASSWORD}),
        Place("activate", "/api/licenses/activations", ("token", "fingerprint", "name"), {"token": ada.license, "fingerprint": "f1", "name": "desk"}),
        Place("find a customer", f"/api/admin/customers?email={ada.email}", ("email",), headers=operator),
        Place("list events", f"/api/admin/events?state=dead&customer_id={ada.customer_id}&cursor=1&limit=2", ("state", "customer_id", "cursor", "limit"), headers=operator),
        Place("log in by form", "/login", ("email", "password"), f"email={ada.email}&password=wrong"),
        Place("sign up", "/api/customers/signup", ("email", "password", "company_name"), {"email": "new@example.com", "password": PASSWORD, "company_name": "Acme"}),
        Place("validate", "/api/licenses/validate", ("token", "product"), {"token": ada.license, "product": "counterfoil-product"}),
        Place("forgot", "/api/customers/password/forgot", ("email",), {"email": ada.email}),
        Place("reset", "/api/customers/password/reset", ("token", "new_password"), {"token": "cft_x", "new_password": PASSWORD}),
        Place("history", "/api/licenses?before=5", ("before",), headers=customer),
        Place("list jobs", f"/api/admin/jobs?state=dead&customer_id={ada.customer_id}&cursor=1&limit=2", ("state", "customer_id", "cursor", "limit"), headers=operator),
        Place("one customer", f"/api/admin/customers/{ada.customer_id}*", (), headers=operator),
        Place("one event", "/api/admin/events/evt_1*", (), headers=operator),
        Place("status list", "/status-lists/1*", ()),
        Place("session", "/account", (), headers={"Cookie": f"cf_session={ada.token}*"}),
        Place("bearer", "/api/customers/me", (), headers={"Authorization": f"Bearer {ada.token}*"}),
        Place("sign up by form", "/signup", ("email", "password", "company_name"), f"email=other@example.com&password={PASSWORD.replace(' ', '+')}&company_name=Acme"),
    ]


def run(target: Target, folder: Path, quick: bool) -> judge.Verdict:
    chosen = places(target)
    found, parameters = [], 0
    for place in chosen:
        verdict = attack(place, target, folder, quick)
        parameters += max(1, len(place.parameters))
        found += [f"{place.name}: {what}" for what in verdict.found]
    found += [f"the server panicked: {line}" for line in target.panics()]
    return judge.Verdict(f"sqlmap: {len(chosen)} requests, {parameters} parameters", tuple(found))


def attack(place: Place, target: Target, folder: Path, quick: bool) -> judge.Verdict:
    command = [
        "sqlmap", "-u", target.base + place.path, "--batch", "--flush-session", "--disable-coloring", "--keep-alive",
        "--level", "1" if quick else "3", "--risk", "1" if quick else "2", "--technique", "BEU" if quick else "BEUST", "--time-sec", "2",
        "--threads", "4", "--timeout", "20", "--retries", "1", "--output-dir", str(folder / "sqlmap"),
        "--ignore-code", "400,401,403,404,409,410,422", "--dbms", "SQLite",
    ]
    if isinstance(place.body, dict):
        command += ["--data", json.dumps(place.body)]
    elif place.body is not None:
        command += ["--data", place.body]
    if place.parameters:
        command += ["-p", ",".join(place.parameters)]
    for name, value in place.headers.items():
        command += ["--header", f"{name}: {value}"]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "HOME": str(folder)}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=120 if quick else 1_800,
    )
    printed = done.stdout + done.stderr
    (folder / f"sqlmap-{place.name.replace(' ', '-')}.log").write_text(printed)
    return judge.sqlmap(printed, max(1, len(place.parameters)))
