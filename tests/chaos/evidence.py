"""Reads what the checker may see: histories, mails, logs, the sandbox's truth and the final database. It decides nothing."""

from __future__ import annotations

import base64
import csv
import io
import json
import sqlite3
import subprocess
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]

TABLES = {
    "customers": "customer_id, email, stripe_customer_id, created_at, deleted_at",
    "subscriptions": "customer_id, stripe_subscription_id, plan, status, trial_ends_at, cancel_at",
    "licenses": "license_id, customer_id, version, token, plan, trial, expires_at, facts_digest, issued_at",
    "sessions": "token_hash, customer_id",
    "checkout_attempts": "attempt_id, customer_id, external_id, state",
    "webhook_inbox": "event_id, state",
    "outbox": "dedupe_key, kind, state, message_id, recipient",
    "signing_keys": "key_id, public_key",
    "instance": "instance_id",
}


@dataclass
class Evidence:
    history: list[Row] = field(default_factory=list)
    mails: list[Row] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    customers: list[Row] = field(default_factory=list)
    subscriptions: list[Row] = field(default_factory=list)
    tables: dict[str, list[Row]] = field(default_factory=dict)


def json_lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def query(database: str, statement: str) -> list[Row]:
    """SQLite is opened to read only; PostgreSQL is asked with psql, whose CSV tells null from empty by quotes we do not need."""
    if database.startswith("postgres"):
        command = ["psql", database, "--no-psqlrc", "-q", "--csv", "-v", "ON_ERROR_STOP=1", "-c", statement]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        csv.field_size_limit(10_000_000)
        return [{name: _null(value) for name, value in row.items()} for row in csv.DictReader(io.StringIO(done.stdout))]
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20) as connection:
        connection.row_factory = sqlite3.Row
        return [{name: row[name] for name in row.keys()} for row in connection.execute(statement)]


def _null(value: str) -> str | None:
    return value if value != "" else None


def listed(sandbox: str, path: str) -> list[Row]:
    found: list[Row] = []
    while True:
        more = f"&starting_after={found[-1]['id']}" if found else ""
        joint = "&" if "?" in path else "?"
        request = urllib.request.Request(f"{sandbox}{path}{joint}limit=100{more}", headers={"authorization": "Bearer sk_test_sandbox"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            page = json.load(answer)
        found += page["data"]
        if not page["has_more"]:
            return found


def gather(history: Path, mails: Path, sandbox: str, database: str, logs: Path) -> Evidence:
    return Evidence(
        history=json_lines(history),
        mails=json_lines(mails),
        logs={path.name: path.read_text(errors="replace") for path in sorted(logs.glob("server*.log"))},
        customers=listed(sandbox, "/v1/customers"),
        subscriptions=listed(sandbox, "/v1/subscriptions?status=all"),
        tables={table: query(database, f"select {columns} from {table}") for table, columns in TABLES.items()},
    )


def public_key(x: str) -> bytes:
    return base64.urlsafe_b64decode(x + "=" * (-len(x) % 4))
