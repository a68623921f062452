"""Runs chaos scenarios against the release binary: `scripts/chaos --help` says how."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import scenarios_crash as crash
import scenarios_database as database
import scenarios_files as files
import scenarios_mail as mail
import scenarios_maintenance as maintenance
from leaks import leaks_in
from mistakes import mistakes_in
from processes import end_all
from world import World

Scenario = Callable[[World, int], Awaitable[str]]


@dataclass(frozen=True)
class Entry:
    run: Scenario
    engines: tuple[str, ...]
    quick: bool = True
    # Megabytes of a tmpfs for the data directory; mounting it needs root.
    tmpfs: int = 0


BOTH, LITE, PG = ("sqlite", "postgres"), ("sqlite",), ("postgres",)
SCENARIOS: dict[str, Entry] = {
    # The longest first, so that lanes end at about the same time.
    "kills": Entry(crash.kills, BOTH),
    "bad-starts": Entry(files.bad_starts, LITE),
    "sync-order": Entry(files.sync_order, LITE),
    "disk-full": Entry(files.disk_full, LITE, tmpfs=8),
    "burst": Entry(files.burst, BOTH),
    "argon2-flood": Entry(crash.argon2_flood, LITE),
    "slow-stripe": Entry(crash.slow_stripe, PG),
    "mail": Entry(mail.mail, BOTH),
    "migrate": Entry(maintenance.migrate, BOTH),
    "rotate": Entry(maintenance.rotate, BOTH),
    "clock": Entry(maintenance.clock, BOTH),
    "weather": Entry(maintenance.weather, BOTH),
    "sigterm": Entry(crash.sigterm, BOTH),
    "sigstop": Entry(crash.sigstop, PG),
    "pg-restart": Entry(database.restart, PG),
    "pg-terminate": Entry(database.terminate, PG),
    "pg-serializable": Entry(database.serializable, PG),
    "pg-deadlocks": Entry(database.deadlocks, PG),
    "pg-connections": Entry(database.connections, PG),
    "pg-black-hole": Entry(database.black_hole, PG, quick=False),
    "pg-failover": Entry(database.failover, PG),
}


async def one(name: str, engine: str, folder: Path, args: argparse.Namespace) -> bool:
    entry, begun = SCENARIOS[name], time.monotonic()
    world = World(name, engine, folder / f"{name}-{engine}", args.seed)
    if entry.tmpfs:
        (world.folder / "data").mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={entry.tmpfs}m", "tmpfs", str(world.folder / "data")], check=True)
    good, said = False, ""
    try:
        await world.open()
        limit = asyncio.timeout(args.seconds) if args.seconds else asyncio.timeout(None)
        async with limit:
            said = await entry.run(world, args.kills)
        healed = await world.heal()
        said = f"{said}; settled after {healed:.1f} s; {await world.check()}"
        good = True
    except Exception as error:  # Whatever it was, the other scenarios still run, and this one has failed.
        said = f"{type(error).__name__}: {error}"
    finally:
        await world.close()
        if found := leaks_in(world.folder):
            good, said = False, f"{said}; {len(found)} lines of logs hold what no log may hold: {found[:3]}"
        if found := mistakes_in(world.folder):
            good, said = False, f"{said}; {len(found)} lines of logs tell of a mistake of ours: {found[:3]}"
        if entry.tmpfs:
            subprocess.run(["umount", str(world.folder / "data")], check=False)
    print(f"{'ok  ' if good else 'FAIL'} {name} on {engine} ({time.monotonic() - begun:.0f} s, seed {args.seed}): {said}", flush=True)
    return good


async def every(names: list[str], folder: Path, args: argparse.Namespace) -> bool:
    """So many scenarios side by side, each on its engines side by side: most of a run is waiting."""
    todo, results = iter(names), list[bool]()

    async def lane() -> None:
        for name in todo:
            engines = [engine for engine in SCENARIOS[name].engines if args.engine in (None, engine)]
            results.extend(await asyncio.gather(*(one(name, engine, folder, args) for engine in engines)))

    await asyncio.gather(*(lane() for _ in range(max(1, args.lanes))))
    return all(results)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description="Real processes under chaos: the release binary is killed, "
                                     "frozen, cut off and lied to, and a separate program compares what was acknowledged with what is there.",
                                     epilog="COUNTERFOIL_CHAOS_BINARY names another binary, such as target/debug/counterfoil; nothing is built then.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="one of: " + ", ".join(SCENARIOS))
    parser.add_argument("--kills", type=int, default=100, help="how many SIGKILLs on each engine, and how long other scenarios are [100]")
    parser.add_argument("--seconds", type=int, default=0, help="the longest that one scenario may take [no limit]")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**9), help="repeat the draws of an earlier run")
    parser.add_argument("--lanes", type=int, default=2, help="how many scenarios run at the same time [2]")
    parser.add_argument("--engine", choices=BOTH, help="only this one")
    parser.add_argument("--all", action="store_true", help="also those that are not quick, which are left out where nothing is named")
    parser.add_argument("--keep", action="store_true", help="keep histories and logs also where all is well")
    return parser.parse_args()


def main() -> int:
    args = arguments()
    names = args.scenarios or [name for name, entry in SCENARIOS.items() if args.all or entry.quick]
    for name in names:
        if name not in SCENARIOS:
            print(f"There is no scenario {name}. There are: {', '.join(SCENARIOS)}", file=sys.stderr)
            return 2
    folder = Path(tempfile.mkdtemp(prefix="counterfoil-chaos."))
    folder.chmod(0o755)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    print(f"seed {args.seed}, {args.kills} kills on each engine, logs in {folder}", flush=True)
    good, begun = False, time.monotonic()
    try:
        good = asyncio.run(every(names, folder, args))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    finally:
        end_all()
        _stop_databases(folder)
        if good and not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{'All is well' if good else f'Something is wrong; histories and logs are in {folder}'}: "
          f"{len(names)} scenarios in {time.monotonic() - begun:.0f} s, seed {args.seed}.")
    return 0 if good else 1


def _stop_databases(folder: Path) -> None:
    """A run that was broken off may have left a PostgreSQL behind."""
    for pid_file in folder.glob("*/*/data/postmaster.pid"):
        try:
            os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGQUIT)
        except (OSError, ValueError, IndexError):
            continue


if __name__ == "__main__":
    sys.exit(main())
