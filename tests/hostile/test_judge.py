"""The judge can say no: to reports with findings, to reports that are missing or empty, and to the tools' own findings on a page
that has the mistakes they look for."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import judge
import run
from run import SCHEMATHESIS, WAPITI
from target import PASSWORD, ROOT, Target
from vulnerable import Vulnerable

GOOD = judge.Slow("headers", 250, 400, 0, 40.0, 90.0, 12.0)


def slow(**changes: object) -> judge.Verdict:
    seen = judge.Slow(**{**GOOD.__dict__, **changes})  # type: ignore[arg-type]
    return judge.slow(seen, 225, 50, 2_000, 25)


class Reports(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="counterfoil-judge."))
        self.report = self.folder / "report.json"

    def tearDown(self) -> None:
        subprocess.run(["rm", "-rf", str(self.folder)], check=True)

    def test_slow_clients_are_judged_by_what_others_notice_and_how_long_they_stay(self) -> None:
        self.assertEqual(slow().found, ())
        for change in ({"opened": 10}, {"asked": 3}, {"failed": 1}, {"p99_ms": 2_001.0}, {"longest_connection_s": 26.0}):
            self.assertEqual(len(slow(**change).found), 1, change)

    def test_wapiti_is_believed_only_with_a_report_about_enough_pages(self) -> None:
        self.assertTrue(judge.wapiti(self.report, 1).found)
        told = {"infos": {"crawled_pages_nbr": 9}, "vulnerabilities": {"SQL Injection": []}, "anomalies": {}}
        self.report.write_text(json.dumps(told))
        self.assertEqual(judge.wapiti(self.report, 9).found, ())
        self.assertTrue(judge.wapiti(self.report, 10).found)
        entry = {"method": "GET", "path": "/", "parameter": "q", "info": "found"}
        for kind in ("vulnerabilities", "anomalies"):
            self.report.write_text(json.dumps({**told, kind: {"Something": [entry]}}))
            self.assertEqual(judge.wapiti(self.report, 9).found, (f"{kind}: Something: GET / q: found",))
        self.report.write_text("{}")
        self.assertTrue(judge.wapiti(self.report, 0).found)

    def test_sqlmap_has_to_have_tried_and_to_have_come_to_a_conclusion(self) -> None:
        tried = "testing if GET parameter 'id' is dynamic\n"
        nothing = tried + "[ERROR] all tested parameters do not appear to be injectable."
        self.assertEqual(judge.sqlmap(nothing, 1).found, ())
        self.assertTrue(judge.sqlmap(nothing, 2).found)
        self.assertTrue(judge.sqlmap(tried, 1).found)
        self.assertTrue(judge.sqlmap("", 0).found)
        self.assertTrue(judge.sqlmap(tried + "GET parameter 'id' is vulnerable. Do you want to keep testing?", 1).found)
        appears = tried + "[INFO] GET parameter 'id' appears to be 'AND boolean-based blind' injectable\n"
        self.assertTrue(judge.sqlmap(appears, 1).found)
        self.assertTrue(judge.sqlmap(appears + "GET parameter 'name' does not seem to be injectable", 1).found, "another one")
        taken_back = appears + "[WARNING] GET parameter 'id' does not seem to be injectable\n"
        self.assertEqual(judge.sqlmap(taken_back, 1).found, (), "it looked again")
        self.assertTrue(judge.sqlmap(taken_back + "sqlmap identified the following injection point(s)", 1).found)

    def test_a_log_that_holds_what_it_must_not_fails_an_attack_that_found_nothing(self) -> None:
        target = Target(Path("none"), self.folder)
        well = judge.Verdict("it attacked")
        self.assertTrue(judge.log(well, 0, target.leaks()).found, "there is no log")
        target.canaries.add("Otherwise-Harmless-7")
        target.log.write_text('{"level":"INFO","message":"answered","status":200,"route":"/login"}\n')
        self.assertEqual(judge.log(well, 1, target.leaks()).found, ())
        shapes = json.loads((ROOT / "tests/leaks.json").read_text())
        harmless = target.log.read_text() + "".join(f"{line}\n" for line in shapes["harmless"])
        target.log.write_text(harmless)
        self.assertEqual(target.leaks(), [])
        samples = [(shape["what"], sample) for shape in shapes["shapes"] for sample in shape["samples"]]
        self.assertGreaterEqual(len(samples), 11)
        for what, leaked in [*samples, ("what somebody here was given", "name=Otherwise-Harmless-7"), ("what somebody here was given", PASSWORD)]:
            target.log.write_text(f"{harmless}{leaked}\n")
            self.assertEqual(judge.log(well, 1, target.leaks()).found, (f"the log holds {what}: {leaked}",))

    def test_an_attack_fails_where_the_log_of_its_server_holds_a_leak(self) -> None:
        server = self.folder / "server"
        server.write_text("#!/bin/sh\necho 'Bearer sk_live_a1a1a1a1a1a1'\nexit 1\n")
        server.chmod(0o755)
        folder, printed = self.folder / "attack", io.StringIO()
        with mock.patch.object(run, "BINARY", server), contextlib.redirect_stdout(printed):
            self.assertFalse(run.one(run.Attack("leaky", lambda *_: judge.Verdict("it attacked")), folder))
        self.assertIn("the log holds a key of the payment provider", printed.getvalue())

    def test_schemathesis_has_to_have_tested_everything(self) -> None:
        printed = "  Tested: 77\n  1880 generated, 33 found 33 unique failures\n"
        self.report.write_text("{}")
        self.assertEqual(judge.schemathesis(self.report, printed, 0, 77, 1000).found, ())
        self.assertTrue(judge.schemathesis(self.report, printed, 1, 77, 1000).found)
        self.assertTrue(judge.schemathesis(self.report, printed, 0, 78, 1000).found)
        self.assertTrue(judge.schemathesis(self.report, printed, 0, 77, 2000).found)
        self.assertTrue(judge.schemathesis(self.folder / "none", printed, 0, 77, 1000).found)
        self.assertTrue(judge.schemathesis(self.report, "", 0, 77, 1000).found)


class Tools(unittest.TestCase):
    """On a page that has the mistakes; each tool has to be installed, as `scripts/hostile` does."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="counterfoil-vulnerable."))
        self.env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"}

    def tearDown(self) -> None:
        subprocess.run(["rm", "-rf", str(self.folder)], check=True)

    def ran(self, command: list[str]) -> tuple[int, str]:
        done = subprocess.run(command, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    def test_sqlmap_finds_an_injection(self) -> None:
        with Vulnerable() as base:
            _, printed = self.ran(["sqlmap", "-u", f"{base}/item?id=1", "--batch", "--flush-session", "--technique", "BEU", "--dbms", "SQLite",
                                   "--output-dir", str(self.folder / "sqlmap")])
        found = judge.sqlmap(printed, 1).found
        self.assertTrue(any("injectable" in line or "injection point" in line for line in found), printed[-2000:])

    def test_wapiti_finds_injections_and_missing_headers(self) -> None:
        report = self.folder / "report.json"
        with Vulnerable() as base:
            self.ran([str(WAPITI), "-u", f"{base}/", "-m", "sql,xss,csp,cookieflags,http_headers", "-f", "json", "-o", str(report), "--flush-session",
                      "--no-bugreport", "--store-session", str(self.folder / "s"), "--store-config", str(self.folder / "c")])
        found = "\n".join(judge.wapiti(report, 1).found)
        for what in ("SQL", "XSS|Cross Site Scripting|Reflected", "Content Security Policy", "HttpOnly", "X-Frame-Options|Clickjacking"):
            self.assertRegex(found, what)

    def test_schemathesis_finds_failures_and_what_is_not_described(self) -> None:
        report = self.folder / "report.json"
        with Vulnerable() as base:
            code, printed = self.ran([str(SCHEMATHESIS), "run", f"{base}/openapi.json", "--checks", "all", "--max-examples", "10", "--no-color",
                                      "--generation-database", "none", "--report", "json", "--report-json-path", str(report)])
        self.assertTrue(judge.schemathesis(report, printed, code, 1, 1).found, printed[-2000:])
        self.assertIn("Undocumented Content-Type", printed)


if __name__ == "__main__":
    unittest.main()
