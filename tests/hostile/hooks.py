"""What schemathesis loads: whose requests these are. A token that has died on the way, because a request logged out, deleted the
account or took the key back, is replaced by another one."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import schemathesis
from target import PASSWORD, ask

BASE = os.environ["HOSTILE_BASE"]
PRINCIPAL = os.environ["HOSTILE_PRINCIPAL"]
TOKEN_FILE = Path(os.environ["HOSTILE_FOLDER"]) / "token"


def another_customer() -> str:
    number = int.from_bytes(os.urandom(6), "big")
    body = {"email": f"again{number}@example.com", "password": PASSWORD}
    return str(ask("POST", f"{BASE}/api/customers/signup", body).json()["token"])


def another_key() -> str:
    env = {name: value for name, value in os.environ.items() if name.startswith(("COUNTERFOIL_", "PATH", "HOME"))}
    command = [os.environ["HOSTILE_BINARY"], "admin", "create-key", "--name", "again", "--scope", "admin", "--json"]
    made = subprocess.run(command, env=env, cwd=os.environ["HOSTILE_FOLDER"], capture_output=True, check=True, timeout=60)
    return str(json.loads(made.stdout)["secret"])


def works(token: str) -> bool:
    path = "/api/customers/me" if PRINCIPAL == "customer" else "/api/admin/who"
    return ask("GET", f"{BASE}{path}", token=token).status == 200


if PRINCIPAL in ("customer", "operator"):

    @schemathesis.auth(refresh_interval=60)
    class Auth:
        def get(self, case: Any, context: Any) -> str:
            token = TOKEN_FILE.read_text() if TOKEN_FILE.exists() else ""
            if not token or not works(token):
                token = another_customer() if PRINCIPAL == "customer" else another_key()
                TOKEN_FILE.write_text(token)
            return token

        def set(self, case: Any, data: str, context: Any) -> None:
            case.headers = case.headers or {}
            case.headers["Authorization"] = f"Bearer {data}"
