"""Reads what the tools left behind, and says what is wrong. A report that is missing, empty or of another shape is wrong as well:
a tool that did nothing has found nothing."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """What a tool did in one line, and what it found; nothing found is well."""

    did: str
    found: tuple[str, ...] = ()


def log(verdict: Verdict, lines: int, leaks: list[str]) -> Verdict:
    """Adds what the server's log holds and must not. A log without a line shows nothing."""
    found = [f"the log holds {leak}" for leak in leaks]
    if lines == 0:
        found.append("the server's log is empty")
    return Verdict(f"{verdict.did}; {lines} lines of log", verdict.found + tuple(found))


def schemathesis(report: Path, printed: str, code: int, operations_min: int, cases_min: int) -> Verdict:
    """The exit code is its own verdict; the report says how much was looked at."""
    found = []
    tested = re.search(r"^\s*Tested: (\d+)", printed, re.MULTILINE)
    operations = int(tested.group(1)) if tested else 0
    generated = re.search(r"^\s*(\d+) generated", printed, re.MULTILINE)
    cases = int(generated.group(1)) if generated else 0
    if operations < operations_min:
        found.append(f"it tested {operations} operations, and there are {operations_min}")
    if cases < cases_min:
        found.append(f"it sent {cases} requests, and {cases_min} are expected")
    if not report.exists():
        found.append("there is no report")
    if code != 0:
        kinds = re.findall(r"^\s*❌ ((?:ST\d+ )?[^:\n]+: \d+)$", printed, re.MULTILINE)
        found.append(f"it ended with {code}: {'; '.join(kinds) or printed.strip()[-600:]}")
    return Verdict(f"{operations} operations, {cases} requests", tuple(found))


def wapiti(report: Path, pages_min: int) -> Verdict:
    """Vulnerabilities and anomalies of its JSON report."""
    try:
        told: dict[str, Any] = json.loads(report.read_text())
        infos, sections = told["infos"], {kind: told[kind] for kind in ("vulnerabilities", "anomalies")}
        pages = int(infos["crawled_pages_nbr"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Verdict("no report that can be read", (f"{type(error).__name__}: {error}",))
    found = []
    if pages < pages_min:
        found.append(f"it saw {pages} pages, and {pages_min} are expected")
    for kind, section in sections.items():
        for name, entries in section.items():
            for entry in entries:
                where = f"{entry.get('method')} {entry.get('path')} {entry.get('parameter') or ''}".strip()
                found.append(f"{kind}: {name}: {where}: {entry.get('info')}")
    return Verdict(f"{pages} pages", tuple(found))


SQLMAP_APPEARS = re.compile(r"parameter '([^']+)' appears to be '.+' injectable")
SQLMAP_FOUND = re.compile(r"is vulnerable|appears to be '.+' injectable|identified the following injection point")
SQLMAP_NOTHING = re.compile(r"all tested parameters do not appear to be injectable|no usable links found|does not seem to be injectable")


def sqlmap(printed: str, parameters_min: int) -> Verdict:
    """sqlmap ends with 0 whatever it finds; its words are what counts."""
    tested = set(re.findall(r"testing (?:if )?(\S+ )?parameter '([^']+)'", printed))
    tested |= set(re.findall(r"(\S+ )?parameter '([^']+)' does not seem to be injectable", printed))
    names = {name for _, name in tested}
    found = [line.strip() for line in printed.splitlines() if SQLMAP_FOUND.search(line)]
    # What only appeared to be injectable is looked at again, and taken back where it was chance: answers that count something do so.
    taken_back = set(re.findall(r"parameter '([^']+)' does not seem to be injectable", printed))
    found = [line for line in found if not (SQLMAP_APPEARS.search(line) and SQLMAP_APPEARS.search(line)[1] in taken_back)]
    if len(names) < parameters_min:
        found.append(f"it tested {len(names)} parameters, and {parameters_min} are expected")
    if not found and not SQLMAP_NOTHING.search(printed):
        found.append(f"it did not come to a conclusion: {printed.strip()[-400:]}")
    return Verdict(f"{len(names)} parameters", tuple(found))


@dataclass(frozen=True)
class Slow:
    """One mode of slowhttptest, as seen from its report and by the prober beside it."""

    mode: str
    opened: int
    asked: int
    failed: int
    p99_ms: float
    slowest_ms: float
    longest_connection_s: float


def slow(run: Slow, opened_min: int, asked_min: int, p99_ms_max: float, connection_s_max: float) -> Verdict:
    did = (
        f"{run.mode}: {run.opened} slow connections, the longest open for {run.longest_connection_s:.0f} s; beside them "
        f"{run.asked} requests, {run.failed} failed, p99 {run.p99_ms:.0f} ms, slowest {run.slowest_ms:.0f} ms"
    )
    found = []
    if run.opened < opened_min:
        found.append(f"{run.mode}: it opened {run.opened} connections, and {opened_min} are expected")
    if run.asked < asked_min:
        found.append(f"{run.mode}: only {run.asked} requests were made beside it, and {asked_min} are expected")
    if run.failed:
        found.append(f"{run.mode}: {run.failed} of {run.asked} requests of others failed")
    if run.p99_ms > p99_ms_max:
        found.append(f"{run.mode}: others waited {run.p99_ms:.0f} ms (p99), and {p99_ms_max:.0f} ms are allowed")
    if run.longest_connection_s > connection_s_max:
        found.append(f"{run.mode}: a slow connection was open for {run.longest_connection_s:.0f} s, and {connection_s_max:.0f} s are allowed")
    return Verdict(did, tuple(found))
