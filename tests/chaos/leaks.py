"""What no log may hold: the shapes of tests/leaks.json, which the suites in other languages read as well."""

from __future__ import annotations

import json
import re
from pathlib import Path

TABLE = json.loads((Path(__file__).resolve().parents[1] / "leaks.json").read_text(encoding="utf-8"))
SHAPES = [(str(shape["what"]), re.compile(shape["pattern"], re.ASCII)) for shape in TABLE["shapes"]]
SECRETS = [shape for shape, row in zip(SHAPES, TABLE["shapes"], strict=True) if row.get("secret")]


def leaks(text: str) -> list[str]:
    """Each line that holds something, with what it is."""
    found = []
    for line in text.splitlines():
        what = next((what for what, pattern in SHAPES if pattern.search(line)), None)
        if what is not None:
            found.append(f"{what}: {line[:300]}")
    return found


def secrets_in(text: str) -> list[str]:
    """What a text holds that nobody may be shown."""
    return [what for what, pattern in SECRETS if pattern.search(text)]


def leaks_in(folder: Path) -> list[str]:
    """The same for the log of every program that a scenario has started."""
    every = sorted(folder.glob("*.log"))
    return [f"{path.name} holds {leak}" for path in every for leak in leaks(path.read_text(errors="replace"))]
