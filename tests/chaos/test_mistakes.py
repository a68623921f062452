"""The search for mistakes of our own can say no."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

from mistakes import mistakes, mistakes_in

WELL = '{"level":"INFO","message":"answered","status":503,"millis":2.5}\n{"level":"INFO","message":"answered","status":200,"millis":500}\n'


class TestMistakes(unittest.TestCase):
    def test_outages_are_none(self) -> None:
        self.assertEqual(mistakes(WELL), [])

    def test_each_mistake_is_found(self) -> None:
        for line in ("thread 'tokio-runtime-worker' panicked at src/main.rs:1:1:", '{"message":"answered","status":500,"millis":2.5}'):
            self.assertEqual(mistakes(f"{WELL}{line}\n{WELL}"), [line])

    def test_every_log_of_a_scenario_is_read(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "server-1.log").write_text(WELL)
            (folder / "history.jsonl").write_text("panicked\n")
            self.assertEqual(mistakes_in(folder), [])
            (folder / "migrate.log").write_text("thread 'main' panicked\n")
            self.assertEqual(mistakes_in(folder), ["migrate.log: thread 'main' panicked"])


if __name__ == "__main__":
    unittest.main()
