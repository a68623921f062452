"""A start that was refused for no reason, by a panic or by a signal is no refusal."""

from __future__ import annotations

import unittest

from refusals import demand_refusal

GOOD = '{"level":"INFO","message":"starting"}\ncounterfoil: the database takes no writes\n'
WORDS = ("takes no writes",)


class TestRefusals(unittest.TestCase):
    def refused(self, words: str, code: int, said: str) -> None:
        with self.assertRaisesRegex(AssertionError, words):
            demand_refusal("a start", code, said, WORDS)

    def test_exit_codes_1_and_2_with_a_reason(self) -> None:
        for code in (1, 2):
            demand_refusal("a start", code, GOOD, WORDS)

    def test_any_other_end(self) -> None:
        for code in (0, 101, -6, -9):
            self.refused(f"exit code {code}", code, GOOD)

    def test_a_panic(self) -> None:
        self.refused("panicked", 1, GOOD + "thread 'main' panicked at src/main.rs:1:1:\n")

    def test_no_reason(self) -> None:
        self.refused("did not say why", 1, "counterfoil: no\n")

    def test_a_reason_that_only_the_log_knows(self) -> None:
        self.refused("did not say why", 1, '{"level":"ERROR","message":"the database takes no writes"}\n')


if __name__ == "__main__":
    unittest.main()
