"""Reads what strace saw of an SQLite server: is the write-ahead log on the disk before success is answered?

The trace is one line a call, from `strace -f -y`, so that each descriptor stands with its file: `fdatasync(12</data/x.db-wal>) = 0`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WRITE = re.compile(r"\b(?:pwrite64|pwritev|write|writev)\(\d+<([^>]+)>")
SYNC = re.compile(r"\b(?:fdatasync|fsync)\(\d+<([^>]+)>")
ANSWER = re.compile(r"\b(?:write|writev|sendto|sendmsg)\(\d+<[^>]*(?:socket|TCP)[^>]*>.*HTTP/1\.1 (20[01])")
UNFINISHED = re.compile(r"^(\d+) .*\b(fdatasync|fsync)\(\d+<([^>]+)> <unfinished")
RESUMED = re.compile(r"^(\d+) .*<\.\.\. (?:fdatasync|fsync) resumed>.*= 0")


@dataclass
class Order:
    """Answers with success after which nothing was unsynced, and what was wrong with the others."""

    answers: int = 0
    syncs: int = 0
    wrong: list[str] | None = None


def read(trace: str) -> Order:
    """Each success that follows a write to the log must find that write synced: the sync has to have come back, not only begun."""
    order, dirty, wrote = Order(wrong=[]), False, False
    under_way: dict[str, str] = {}
    assert order.wrong is not None
    for line in trace.splitlines():
        if match := RESUMED.search(line):
            if under_way.pop(match[1], "").endswith("-wal"):
                dirty, order.syncs = False, order.syncs + 1
        elif match := UNFINISHED.search(line):
            under_way[match[1]] = match[3]
        elif match := SYNC.search(line):
            if match[1].endswith("-wal") and line.rstrip().endswith("= 0"):
                dirty, order.syncs = False, order.syncs + 1
        elif (match := WRITE.search(line)) and match[1].endswith("-wal"):
            dirty = wrote = True
        elif match := ANSWER.search(line):
            order.answers += 1
            if dirty:
                order.wrong.append(f"answered {match[1]} before the log was synced: {line[:120]}")
            if not wrote:
                order.wrong.append(f"answered {match[1]} and wrote nothing: {line[:120]}")
            wrote = False
    return order
