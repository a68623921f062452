"""schemathesis over our own description of the API: all checks, all phases, once for each kind of caller."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import judge
from target import Target

HERE = Path(__file__).resolve().parent

# What there is at least; fewer means that the description has lost some, and the tool did not see them.
OPERATIONS = 75

# Seconds that one caller's run may take. It ends by its number of examples; this is for a run that hangs.
SECONDS_MAX = 5_400


def dictionary(name: str, values: list[str]) -> str:
    listed = ", ".join(f'"{value}"' for value in values)
    return f'\n[dictionaries.{name}]\nvalues = [{listed}]\n'


def prepared(target: Target, principal: str, folder: Path) -> None:
    """The people, and the words that lead to them: every second id is one that exists."""
    people = [target.customer() for _ in range(4)]
    key = target.operator_key()
    if principal != "anonymous":
        (folder / "token").write_text(people[0].token if principal == "customer" else key)
    config = (HERE / "schemathesis.toml").read_text()
    config += dictionary("customers", [person.customer_id for person in people])
    config += dictionary("licenses", [person.license for person in people])
    (folder / "schemathesis.toml").write_text(config)


def run(principal: str, target: Target, folder: Path, tool: Path, examples: int, seed: int) -> judge.Verdict:
    prepared(target, principal, folder)
    report = folder / f"schemathesis-{principal}.json"
    command = [
        str(tool), "--config-file", str(folder / "schemathesis.toml"), "run", f"{target.base}/api/openapi.json",
        "--checks", "all", "--phases", "examples,coverage,fuzzing,stateful", "--mode", "all", "--max-examples", str(examples),
        "--continue-on-failure", "--no-color", "--request-timeout", "60", "--seed", str(seed), "--generation-database", "none",
        "--report", "json", "--report-json-path", str(report),
    ]
    if examples < 100:
        command.append("--no-shrink")
    env = {
        **target.env, "HOSTILE_BASE": target.base, "HOSTILE_PRINCIPAL": principal, "HOSTILE_FOLDER": str(folder),
        "HOSTILE_BINARY": str(target.binary), "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
    }
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=SECONDS_MAX)
    printed = done.stdout + done.stderr
    (folder / f"schemathesis-{principal}.log").write_text(printed)
    verdict = judge.schemathesis(report, printed, done.returncode, OPERATIONS, OPERATIONS * min(examples, 20))
    panics = tuple(f"the server panicked: {line}" for line in target.panics())
    return judge.Verdict(f"schemathesis as {principal}: {verdict.did}, seed {seed}", verdict.found + panics)
