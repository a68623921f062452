"""The server that is attacked: the built binary in sandbox mode on free loopback ports, with a fresh data directory, and the
people in it: customers with a trial, a customer who has paid, and an operator's key.

Limits on guessing are off, because a tool that is told 429 sees nothing else any more; they have tests of their own.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse 9"

# What no log may hold, as the other suites have it.
LEAKS = [
    (str(shape["what"]), re.compile(shape["pattern"], re.ASCII))
    for shape in json.loads((ROOT / "tests/leaks.json").read_text(encoding="utf-8"))["shapes"]
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(method: str, url: str, body: Any = None, token: str | None = None, timeout: float = 30) -> Answer:
    """One request; a status of any kind is an answer."""
    request = urllib.request.Request(url, method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("content-type", "application/json")
    if token is not None:
        request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return Answer(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, dict(error.headers), error.read())


@dataclass(frozen=True)
class Customer:
    customer_id: str
    email: str
    token: str
    license: str


class Target:
    """The running server. `with Target(…) as target:` starts and stops it; a stop that is not clean is an error."""

    def __init__(self, binary: Path, folder: Path, settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.binary = binary
        port, sandbox_port = free_port(), free_port()
        self.base = f"http://127.0.0.1:{port}"
        self.sandbox = f"http://127.0.0.1:{sandbox_port}"
        self.port = port
        self.log = folder / "server.log"
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "TZ": "UTC",
            "COUNTERFOIL_LISTEN": f"127.0.0.1:{port}", "COUNTERFOIL_SANDBOX_LISTEN": f"127.0.0.1:{sandbox_port}",
            "COUNTERFOIL_PUBLIC_URL": self.base, "COUNTERFOIL_DATA_DIR": str(folder / "data"),
            "COUNTERFOIL_RATE_LIMITS": "off", "COUNTERFOIL_CHECKOUT_AUTH": "required", "RUST_LOG": "info",
            **(settings or {}),
        }
        self.stopped_in = 0.0
        # What was given to the people and to the operator, and must stand in no log.
        self.canaries = {PASSWORD}
        self._people = 0
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Target:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            command = [str(self.binary), "serve"]
            self._child = subprocess.Popen(command, env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self._child.poll() is not None:
                raise RuntimeError(f"the server ended at its start:\n{self.said()[-2000:]}")
            try:
                if ask("GET", f"{self.base}/readyz", timeout=2).status == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.05)
        self._kill()
        raise RuntimeError("the server was not ready within a minute")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self.stop()
        except RuntimeError:
            # What went wrong before is what matters.
            if error is None:
                raise

    def stop(self) -> None:
        """Asks the server to stop; it has 20 s for what it has begun."""
        child = self._child
        if child is None:
            return
        ended = child.poll()
        if ended is not None:
            self._child = None
            raise RuntimeError(f"the server ended by itself with {ended}:\n{self.said()[-2000:]}")
        begun = time.monotonic()
        child.send_signal(signal.SIGTERM)
        try:
            code = child.wait(30)
        except subprocess.TimeoutExpired:
            self._kill()
            raise RuntimeError("the server did not stop within 30 s") from None
        self._child = None
        self.stopped_in = time.monotonic() - begun
        if code != 0:
            raise RuntimeError(f"the server stopped with {code} after {self.stopped_in:.1f} s:\n{self.said()[-2000:]}")

    def _kill(self) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        self._child = None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def panics(self) -> list[str]:
        """Lines of the log that say that an invariant was false."""
        return [line for line in self.said().splitlines() if "panicked at" in line]

    def leaks(self) -> list[str]:
        """Lines of the log that hold what no log may hold: something of a shape that gives it away, or something that we gave out."""
        found = []
        for line in self.said().splitlines():
            what = next((what for what, pattern in LEAKS if pattern.search(line)), None)
            if what is None and any(canary in line for canary in self.canaries):
                what = "what somebody here was given"
            if what is not None:
                found.append(f"{what}: {line[:300]}")
        return found

    def customer(self) -> Customer:
        """Somebody who has signed up and is in the trial."""
        self._people += 1
        email = f"person{self._people}.{os.getpid()}@example.com"
        body = {"email": email, "password": PASSWORD, "company_name": "Acme"}
        answer = ask("POST", f"{self.base}/api/customers/signup", body)
        if answer.status != 201:
            raise RuntimeError(f"signing up was answered {answer.status}: {answer.body[:500]!r}")
        made = answer.json()
        self.canaries |= {email, made["token"], made["license"]["token"]}
        return Customer(made["customer"]["customer_id"], email, made["token"], made["license"]["token"])

    def operator_key(self) -> str:
        command = [str(self.binary), "--json", "admin", "create-key", "--name", "hostile", "--scope", "admin"]
        made = subprocess.run(command, env=self.env, cwd=self.folder, capture_output=True, check=True, timeout=60)
        secret = str(json.loads(made.stdout)["secret"])
        self.canaries.add(secret)
        return secret

    def paid_by_invoice(self, customer: Customer, key: str) -> None:
        """Makes the customer one who has paid, as an operator writes it down."""
        url = f"{self.base}/api/admin/customers/{customer.customer_id}/manual/start"
        body = {"plan": "professional", "interval": "month", "reference": "A-1", "reason": "hostile"}
        answer = ask("POST", url, body, key)
        if answer.status != 200:
            raise RuntimeError(f"an invoice was answered {answer.status}: {answer.body[:500]!r}")
