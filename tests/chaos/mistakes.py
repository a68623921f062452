"""What no program of ours may have to say: that it panicked, or that it answered 500. An outage of something else is answered 503."""

from __future__ import annotations

import re
from pathlib import Path

MISTAKE = re.compile(r'panicked|"status":500\b')


def mistakes(text: str) -> list[str]:
    """Each line of a log that tells of one."""
    return [line[:300] for line in text.splitlines() if MISTAKE.search(line)]


def mistakes_in(folder: Path) -> list[str]:
    """The same for the log of every program that a scenario has started."""
    every = sorted(folder.glob("*.log"))
    return [f"{path.name}: {mistake}" for path in every for mistake in mistakes(path.read_text(errors="replace"))]
