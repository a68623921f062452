"""One world: the sandbox, a database, one or two replicas, a mail server, and a fault proxy between each two of them."""

from __future__ import annotations

import random
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from client import is_up, send, until
from history import History
from postgres import Postgres
from processes import BINARY, SANDBOX_KEY, Child, Server, free_port, run
from proxy import CALM, Proxy, Weather
from smtp import MailSink

ORIGIN = "http://localhost:3000"
CLAIM_WAIT_SECONDS = 15.0
HEAL_SECONDS = 330.0


class World:
    def __init__(self, name: str, engine: str, folder: Path, seed: int, replicas: int = 0) -> None:
        self.name, self.engine, self.seed = name, engine, seed
        self.folder = folder
        self.rng = random.Random(f"{seed}:{name}:{engine}")
        self._opened: list[Any] = []
        self.servers: list[Server] = []
        self.doors: list[Proxy] = []
        self.postgres: Postgres | None = None
        self._replicas = replicas or (2 if engine == "postgres" else 1)

    async def open(self, **env: str) -> World:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self.history = History(self.folder / "history.jsonl")
        port = free_port()
        self.sandbox_base = f"http://127.0.0.1:{port}"
        self.sandbox = Child("sandbox", [str(BINARY), "sandbox", "--listen", f"127.0.0.1:{port}"], {}, self.folder)
        self.sandbox.start()
        await until("the sandbox answers", lambda: is_up(f"{self.sandbox_base}/v1/account", token=SANDBOX_KEY))
        self.mail = await MailSink(self.folder / "mails.jsonl", self.rng).start()
        self._opened.append(self.mail)
        self.to_stripe = await self._proxy("stripe", port)
        self.to_mail = await self._proxy("mail", self.mail.port)
        self.to_database: Proxy | None = None
        self.data = self.folder / "data"
        self.data.mkdir(exist_ok=True)
        self.hooks = await self._proxy("webhooks")
        endpoint = await self.stripe(
            "POST", "/v1/webhook_endpoints", {"url": f"http://127.0.0.1:{self.hooks.port}/api/webhooks/stripe", "enabled_events[0]": "*"}
        )
        self.secret = str(endpoint["secret"])
        self.env = {
            "STRIPE_SECRET_KEY": SANDBOX_KEY,
            "STRIPE_WEBHOOK_SECRET": self.secret,
            "STRIPE_API_BASE": f"http://127.0.0.1:{self.to_stripe.port}",
            "SMTP_URL": f"smtp://127.0.0.1:{self.to_mail.port}",
            "COUNTERFOIL_MAIL_FROM": "Billing <billing@example.com>",
            "COUNTERFOIL_ALLOWED_RETURN_ORIGINS": ORIGIN,
            "COUNTERFOIL_DATA_DIR": str(self.data),
            "COUNTERFOIL_LOG_FORMAT": "json",
            "COUNTERFOIL_PUBLIC_URL": "http://localhost:3100",
            # Load and chaos come from one address; what the limits do has tests of its own.
            "COUNTERFOIL_RATE_LIMITS": "off",
            **env,
        }
        if self.engine == "postgres":
            self.postgres = await Postgres(self.folder / "postgres").create()
            self.to_database = await self._proxy("database", self.postgres.port)
            self.env["DATABASE_URL"] = self.postgres.url(port=self.to_database.port) + "?sslmode=disable"
        for number in range(self._replicas):
            server = Server(f"server-{number + 1}", self.env, self.folder)
            self.servers.append(server)
            server.start()
            await server.ready()
            self.doors.append(await self._proxy(f"door-{number + 1}", server.port))
        self.hooks.targets = [("127.0.0.1", door.port) for door in self.doors]
        return self

    async def _proxy(self, name: str, *ports: int) -> Proxy:
        proxy = await Proxy(name, [("127.0.0.1", port) for port in ports], self.rng).start()
        self._opened.append(proxy)
        return proxy

    async def stripe(self, method: str, path: str, form: dict[str, str] | None = None) -> Any:
        answer = await send(method, self.sandbox_base + path, form=form, token=SANDBOX_KEY)
        if answer.status >= 400:
            raise RuntimeError(f"the sandbox refused {method} {path}: {answer.body}")
        return answer.json()

    def door(self, number: int | None = None) -> str:
        """The address of a replica, through its proxy."""
        chosen = self.rng.choice(self.doors) if number is None else self.doors[number % len(self.doors)]
        return f"http://127.0.0.1:{chosen.port}"

    def storm(self, scale: float = 1.0) -> None:
        """Bad weather everywhere."""
        self.to_stripe.weather = Weather({"refuse": 0.02 * scale, "delay": 0.05 * scale, "cut_request": 0.02 * scale,
                                          "cut_answer": 0.03 * scale, "black_hole": 0.06 * scale, "trickle": 0.03 * scale}, 1.0)
        self.to_mail.weather = Weather({"refuse": 0.05 * scale, "cut_answer": 0.05 * scale, "black_hole": 0.02 * scale}, 1.0)
        if self.to_database is not None:
            self.to_database.weather = Weather({"refuse": 0.02 * scale, "cut_answer": 0.05 * scale, "delay": 0.05 * scale}, 0.5)
        for door in self.doors:
            door.weather = Weather({"refuse": 0.01 * scale, "cut_request": 0.01 * scale, "cut_answer": 0.02 * scale}, 0.5)

    async def heal(self) -> float:
        """Fair weather; everything that was owed has to be done. Answers how long that took."""
        for proxy in self.proxies():
            proxy.weather = CALM
        self.mail.moods = ["well"]
        await self.up()
        begun = time.monotonic()
        try:
            await until("what was not claimed by a dead process is done", self.is_settled, CLAIM_WAIT_SECONDS, 1.0)
        except TimeoutError:
            await self._pass_time()
            await until("nothing is owed any more", self.is_settled, HEAL_SECONDS, 1.0)
        return time.monotonic() - begun

    async def _pass_time(self) -> None:
        """A row that a killed process had claimed is due five minutes later, and what was put off by a clock
        that was days ahead is due by that day. Rather than wait, the run makes all that waits due."""
        past = "created_at - interval '30 days'" if self.postgres is not None else "'2020' || substr(created_at, 5)"
        for table, born in (("outbox", "created_at"), ("webhook_inbox", "received_at")):
            await self.rows(f"update {table} set run_at = {past.replace('created_at', born)} where state = 'pending'")

    async def up(self) -> None:
        """Starts whatever has ended until all are ready: a start may fail while the database is away, as under any supervisor."""
        for server in self.servers:
            async def ready(one: Server = server) -> bool:
                if not one.runs:
                    one.start()
                return await is_up(f"{one.base}/readyz")

            await until(f"{server.name} is ready", ready, 60.0, 0.2)

    async def is_settled(self) -> bool:
        rows = await self.rows(
            "select (select count(*) from webhook_inbox where state = 'pending'), "
            "(select count(*) from outbox where state = 'pending'), "
            "(select count(*) from subscriptions where status = 'active')"
        )
        active = {one["customer"] for one in await self.list("/v1/subscriptions?status=active")}
        return rows[0][:2] == ["0", "0"] and int(rows[0][2]) >= len(active)

    async def list(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            more = f"&starting_after={found[-1]['id']}" if found else ""
            page = await self.stripe("GET", f"{path}{'&' if '?' in path else '?'}limit=100{more}")
            found += page["data"]
            if not page["has_more"]:
                return found

    async def rows(self, statement: str) -> list[list[str]]:
        if self.postgres is not None:
            return await self.postgres.sql(statement)
        with closing(sqlite3.connect(self.database(), timeout=5, isolation_level=None)) as connection:
            return [[str(value) for value in row] for row in connection.execute(statement).fetchall()]

    def database(self) -> str:
        return self.postgres.url() if self.postgres is not None else str(self.data / "counterfoil.db")

    def proxies(self) -> list[Proxy]:
        every = [self.to_stripe, self.to_mail, self.hooks, *self.doors]
        return every + ([self.to_database] if self.to_database is not None else [])

    async def check(self) -> str:
        """Asks the separate program. Raises where it finds anything; answers its summary."""
        self.history.close()
        code, said = await run(
            [sys.executable, str(Path(__file__).with_name("check.py")), "--history", str(self.folder / "history.jsonl"), "--mails",
             str(self.folder / "mails.jsonl"), "--sandbox", self.sandbox_base, "--database", self.database(), "--logs", str(self.folder)],
            seconds=300,
        )
        if code != 0:
            raise AssertionError(said)
        return said.strip()

    async def close(self) -> None:
        """Ends whatever has been started, also where opening broke off."""
        for server in self.servers:
            await server.kill()
        for opened in self._opened:
            await opened.stop()
        await self.sandbox.kill()
        if self.postgres is not None:
            try:
                await self.postgres.stop()
            except RuntimeError:
                pass  # A scenario has ended it already.
