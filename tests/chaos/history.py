"""The history: one JSON line for each operation, written when its outcome is known or known to be unknown."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from client import Answer, Broken, send


class History:
    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        # What was answered with success so far, by operation.
        self.acknowledged: Counter[str] = Counter()

    def write(self, **line: Any) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        self.acknowledged[line["op"]] += line["outcome"] == "ok"

    def close(self) -> None:
        self._file.close()

    async def call(self, op: str, args: dict[str, Any], method: str, url: str, **request: Any) -> Answer | None:
        """Does one operation. None means that its outcome is unknown."""
        line: dict[str, Any] = {"op": op, "args": args, "begin": time.time()}
        try:
            answer = await send(method, url, **request)
        except Broken as error:
            self.write(**line, end=time.time(), outcome="unknown", status=None, answer=str(error))
            return None
        outcome = "ok" if answer.status < 400 else "refused"
        self.write(**line, end=time.time(), outcome=outcome, status=answer.status, answer=answer.body)
        return answer
