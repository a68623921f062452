"""Commands that are killed in the middle of what they do, and clocks that are wrong."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from contextlib import closing
from email.utils import parsedate_to_datetime
from pathlib import Path

from client import Broken, send
from load import Load, User
from processes import BINARY, Child, run
from world import World

# Signatures of webhooks hold for 300 seconds, so clocks may differ by less than that.
CLOCK_ERROR_SECONDS = 240


async def _killed_after(world: World, name: str, command: list[str], env: dict[str, str], seconds: float) -> bool:
    """Starts it and kills it so much later. False where it had ended before."""
    child = Child(name, command, env, world.folder)
    child.start()
    await asyncio.sleep(seconds)
    alive = child.runs
    child.signal(signal.SIGKILL)
    await child.wait(10)
    return alive


async def _tables(world: World, data: Path, database: str) -> int:
    if world.postgres is not None:
        rows = await world.postgres.sql("select count(*) from pg_tables where schemaname = 'public'", database=database)
        return int(rows[0][0])
    file = data / "counterfoil.db"
    if not file.exists():
        return 0
    with closing(sqlite3.connect(file, timeout=5)) as connection:
        return int(connection.execute("select count(*) from sqlite_master where type = 'table'").fetchone()[0])


async def migrate(world: World, count: int) -> str:
    """`counterfoil migrate` is killed at random instants: the schema is whole or not there, and the next start finishes it."""
    rounds, killed, nothing, whole = max(10, min(count // 10, 200)), 0, 0, 0
    begun = time.monotonic()
    full = await _migrated(world, 0, None)
    took = time.monotonic() - begun
    for number in range(1, rounds + 1):
        seen = await _migrated(world, number, world.rng.uniform(0.0, took))
        killed += seen >= 0
        nothing += seen == 0
        whole += seen == full
        assert seen in (-1, 0, full), f"after a kill there are {seen} of {full} tables"
    return f"{killed} kills in the middle, after which {nothing} databases had no table and {whole} all {full}; each was finished by the next run"


async def _migrated(world: World, number: int, seconds: float | None) -> int:
    """Migrates a new database; with `seconds`, once with a kill before. Answers the tables after the kill, -1 if it came too late."""
    data, database = world.folder / f"migrate-{number}", f"migrate_{number}"
    data.mkdir()
    env = {**world.env, "COUNTERFOIL_DATA_DIR": str(data)}
    if world.postgres is not None:
        await world.postgres.sql(f"create database {database}", database="postgres")
        env["DATABASE_URL"] = world.postgres.url(database) + "?sslmode=disable"
    command, seen = [str(BINARY), "migrate"], -1
    if seconds is not None and await _killed_after(world, "migrate", command, env, seconds):
        seen = await _tables(world, data, database)
    code, said = await run(command, env)
    assert code == 0, f"the migration after a kill ended with {code}: {said[-800:]}"
    code, said = await run([*command, "--check"], env)
    assert code == 0, f"migrate --check ended with {code}: {said[-800:]}"
    return seen if seconds is not None else await _tables(world, data, database)


async def rotate(world: World, count: int) -> str:
    """`keys rotate --now` is killed at random instants beside a running server: it always signs, and all it signed verifies."""
    command = [str(BINARY), "keys", "rotate", "--now", "--reason", "a drill"]
    begun = time.monotonic()
    code, said = await run(command, world.env)
    assert code == 0, f"keys rotate ended with {code}: {said[-800:]}"
    took, killed = time.monotonic() - begun, 0
    load = Load(world, 2)
    for number in range(max(10, min(count // 4, 20))):
        killed += await _killed_after(world, "rotate", command, world.env, world.rng.uniform(0.0, took))
        user = User(world, 20_000 + number)
        assert await user.sign_up(), "nobody can sign up after a rotation that was killed"
        answer = await send("GET", world.door() + "/.well-known/jwks.json")
        assert answer.status == 200, f"the keys were answered {answer.status}"
    await load.stop()
    # What a restart finds is what the running server knew.
    for server in world.servers:
        await server.kill()
    await world.up()
    code, said = await run(command, world.env)
    assert code == 0, f"keys rotate after all the kills ended with {code}: {said[-800:]}"
    last = User(world, 30_000)
    assert await last.sign_up(), "nobody can sign up after the last rotation"
    rows = await world.rows("select state, count(*) from signing_keys group by state order by state")
    return f"{killed} rotations killed in the middle; keys at the end: {', '.join(f'{number} {state}' for state, number in rows)}"


async def clock(world: World, count: int) -> str:
    """Each replica's wall clock jumps every second to somewhere within four minutes of the right time, to both sides."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert libraries, "libfaketime is missing; install Debian's faketime"
    for server in world.servers:
        await server.kill()
        file = world.folder / f"{server.name}.clock"
        file.write_text("+0\n")
        server.env = {**server.env, "LD_PRELOAD": str(libraries[0]), "FAKETIME_TIMESTAMP_FILE": str(file),
                      "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_CACHE_DURATION": "1"}
    await world.up()
    load, jumps, widest = Load(world, 3), 0, 0.0
    ends = time.monotonic() + max(15, min(count / 5, 120))
    while time.monotonic() < ends:
        for server in world.servers:
            offset = world.rng.randint(-CLOCK_ERROR_SECONDS, CLOCK_ERROR_SECONDS)
            (world.folder / f"{server.name}.clock").write_text(f"{offset:+d}\n")
            jumps += 1
        await asyncio.sleep(1.0)
        widest = max(widest, await _clock_error(world))
    for server in world.servers:
        (world.folder / f"{server.name}.clock").write_text("+0\n")
    await load.stop()
    assert widest > CLOCK_ERROR_SECONDS / 4, f"the clocks were never wrong by more than {widest:.0f} s, so nothing was tried"
    shown = [user for user in load.users if user.token]
    for user in shown[-5:]:
        answer = await send("GET", world.door() + "/api/licenses/current", token=user.token)
        assert answer.status == 200, f"after the jumps a license was answered {answer.status}"
    return f"{jumps} jumps of up to {CLOCK_ERROR_SECONDS} s to either side, seen in answers up to {widest:.0f} s"


async def _clock_error(world: World) -> float:
    """How wrong a server's clock is, by the date in the head of its answer."""
    try:
        told = (await send("GET", f"{world.rng.choice(world.servers).base}/livez", timeout=5)).headers.get("date")
    except Broken:
        return 0.0
    return abs(parsedate_to_datetime(told).timestamp() - time.time()) if told else 0.0


async def weather(world: World, count: int) -> str:
    """No process dies; each connection between any two of them may be refused, late, cut, slow, or silent after the request."""
    world.storm(1.5)
    world.mail.moods = ["well", "slow", "drop_after_data", "full"]
    load = Load(world, 4)
    await asyncio.sleep(max(20, min(count / 4, 300)))
    await load.stop()
    faults: dict[str, int] = {}
    for proxy in world.proxies():
        for kind, number in proxy.counts.items():
            faults[kind] = faults.get(kind, 0) + number
    return "faults: " + ", ".join(f"{kind} {number}" for kind, number in sorted(faults.items()))
