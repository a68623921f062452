"""The search through logs can say no."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

from leaks import SHAPES, TABLE, leaks, leaks_in


class TestLeaks(unittest.TestCase):
    def test_each_shape_finds_its_samples(self) -> None:
        self.assertGreaterEqual(len(SHAPES), 11)
        for shape, (what, pattern) in zip(TABLE["shapes"], SHAPES, strict=True):
            self.assertTrue(shape["samples"], what)
            for sample in shape["samples"]:
                self.assertTrue(pattern.search(sample), f"{what}: {sample}")
                self.assertEqual(len(leaks(f"before\n{sample}\nafter")), 1, sample)

    def test_none_finds_what_is_harmless(self) -> None:
        self.assertEqual(leaks("\n".join(TABLE["harmless"])), [])

    def test_every_log_of_a_scenario_is_read(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "server-1.log").write_text("answered 200\n")
            (folder / "history.jsonl").write_text("canary\n")
            self.assertEqual(leaks_in(folder), [])
            (folder / "sandbox.log").write_text("answered 200\nwhsec_0123456789\n")
            self.assertEqual(leaks_in(folder), ["sandbox.log holds a webhook secret: whsec_0123456789"])


if __name__ == "__main__":
    unittest.main()
