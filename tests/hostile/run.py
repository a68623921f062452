"""Attacks a running server with other people's tools: `scripts/hostile --help` says how."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import fuzzed_api
import injected
import judge
import scanned_pages
import slow
from target import ROOT, Target

BINARY = Path(os.environ.get("COUNTERFOIL_HOSTILE_BINARY") or ROOT / "target/debug/counterfoil")
SCHEMATHESIS = ROOT / "target/venv-schemathesis/bin/schemathesis"
WAPITI = ROOT / "target/venv-wapiti/bin/wapiti"
TOOLS = ("schemathesis", "wapiti", "sqlmap", "slowhttptest")
# schemathesis calls as each of them; the long run as one of them is a command of its own.
PRINCIPALS = ("customer", "operator", "anonymous")
CALLERS = {f"schemathesis-{principal}": principal for principal in PRINCIPALS}

# Links in answers lead to where we are reached, and browsers are told to use cookies over TLS only.
BEHIND_TLS = "COUNTERFOIL_PUBLIC_URL"


@dataclass(frozen=True)
class Attack:
    name: str
    run: Callable[[Target, Path], judge.Verdict]
    behind_tls: bool = False


def attacks(tools: Iterable[str], args: argparse.Namespace) -> list[Attack]:
    made = []
    quick = not args.all
    # The longest first; those that measure come last, when less runs beside them.
    if "sqlmap" in tools:
        made.append(Attack("sqlmap", lambda target, folder: injected.run(target, folder, quick)))
    examples = args.examples or (10 if quick else 500)
    for name, principal in CALLERS.items():
        if "schemathesis" in tools or name in tools:
            made.append(Attack(
                name,
                lambda target, folder, principal=principal: fuzzed_api.run(principal, target, folder, SCHEMATHESIS, examples, args.seed),
            ))
    if "wapiti" in tools:
        for who in ("customer", "stranger"):
            made.append(Attack(
                f"wapiti-{who}", lambda target, folder, who=who: scanned_pages.run(who, target, folder, WAPITI, quick), behind_tls=True
            ))
    if "slowhttptest" in tools:
        connections = 250 if quick else 900
        for mode in slow.MODES:
            made.append(Attack(f"slow-{mode}", lambda target, folder, mode=mode: slow.slowhttptest(mode, target, folder, connections)))
        many = 2_000 if quick else 5_000
        made.append(Attack("slow-idle", lambda target, folder: slow.idle(target, many)))
    return made


def one(attack: Attack, folder: Path) -> bool:
    """Each attack has a server of its own, which has to be alive afterwards, to stop well, and to have kept to itself what no log
    may hold."""
    begun = time.monotonic()
    folder.mkdir()
    target = Target(BINARY, folder)
    if attack.behind_tls:
        target.env[BEHIND_TLS] = target.base.replace("http:", "https:")
    try:
        with target:
            verdict = attack.run(target, folder)
    except Exception as error:  # Whatever it was, the other attacks still run, and this one has failed.
        verdict = judge.Verdict("it broke off", (f"{type(error).__name__}: {error}",))
    verdict = judge.log(verdict, target.said().count("\n"), target.leaks())
    print(f"{'FAIL' if verdict.found else 'ok  '} {attack.name} ({time.monotonic() - begun:.0f} s): {verdict.did}", flush=True)
    for what in verdict.found[:40]:
        print(f"     {what}", flush=True)
    return not verdict.found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/hostile", description="Attacks a running server with other people's tools, on loopback: schemathesis over the API, "
        "wapiti over the pages, sqlmap over forms and bodies, slowhttptest over connections.")
    parser.add_argument("tools", nargs="*", metavar="TOOL", help="one of: " + ", ".join((*TOOLS, *CALLERS)) + "; all where none is named")
    how_far = parser.add_mutually_exclusive_group()
    how_far.add_argument("--ci", action="store_true", help="a short share of each, in a few minutes; so it is where nothing is said")
    how_far.add_argument("--all", action="store_true", help="the long run: 500 examples for each call, all modules of wapiti, deeper levels of sqlmap")
    parser.add_argument("--examples", type=int, default=0, help="how many examples schemathesis makes for each call [10; 500 with --all]")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9), help="repeat what schemathesis drew in an earlier run")
    parser.add_argument("--lanes", type=int, default=0, help="how many attacks run at the same time [4; 1 with --all]")
    parser.add_argument("--keep", action="store_true", help="keep reports and logs also where all is well")
    args = parser.parse_args()
    for tool in args.tools:
        if tool not in (*TOOLS, *CALLERS):
            parser.error(f"there is no tool '{tool}'; there are {', '.join((*TOOLS, *CALLERS))}")
    return args


def main() -> int:
    args = arguments()
    if not BINARY.exists():
        print(f"{BINARY} is missing", file=sys.stderr)
        return 1
    folder = Path(tempfile.mkdtemp(prefix="counterfoil-hostile."))
    chosen = attacks(args.tools or TOOLS, args)
    lanes = args.lanes or (1 if args.all else 4)
    with ThreadPoolExecutor(max_workers=lanes) as pool:
        good = list(pool.map(lambda attack: one(attack, folder / attack.name), chosen))
    if all(good) and not args.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"reports and logs: {folder}")
    print(f"{sum(good)} of {len(good)} attacks found nothing (schemathesis with seed {args.seed})")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
