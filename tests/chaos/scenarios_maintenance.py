"""Commands that are killed in the middle of what they do, and clocks that are wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from client import Broken, send, until
from load import Load, User, deliver, plain_event
from processes import BINARY, Child, Server, run
from world import World

# Signatures of webhooks hold for so long, so clocks may differ by less than that.
TOLERANCE_SECONDS = 300
CLOCK_ERROR_SECONDS = 240
# And further than that.
FAR = {"3 days ahead": 3 * 86_400, "10 minutes behind": -600}
FAR_SECONDS = 6.0
TRIAL_SECONDS = 14 * 86_400


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


def _rounds(least: int, is_enough: Callable[[], bool]) -> Iterator[int]:
    """Numbers from one on: so many, and up to ten times as many where each kill came too late."""
    for number in range(1, 10 * least + 1):
        if number > least and is_enough():
            return
        yield number


async def migrate(world: World, count: int) -> str:
    """`counterfoil migrate` is killed at random instants: the schema is whole or not there, and the next start finishes it. Beside
    all that, somebody signs up at the servers that run."""
    killed, nothing, whole = 0, 0, 0
    begun = time.monotonic()
    full = await _migrated(world, 0, None)
    took = time.monotonic() - begun
    for number in _rounds(max(10, min(count // 10, 200)), lambda: killed > 0):
        seen = await _migrated(world, number, world.rng.uniform(0.0, took))
        killed += seen >= 0
        nothing += seen == 0
        whole += seen == full
        assert seen in (-1, 0, full), f"after a kill there are {seen} of {full} tables"
    assert killed > 0, f"all {number} kills came too late, so nothing was tried"
    assert await User(world, 0).sign_up(), "nobody can sign up beside migrations that are killed"
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
    for number in _rounds(max(10, min(count // 4, 20)), lambda: killed > 0):
        killed += await _killed_after(world, "rotate", command, world.env, world.rng.uniform(0.0, took))
        user = User(world, 20_000 + number)
        assert await user.sign_up(), "nobody can sign up after a rotation that was killed"
        answer = await send("GET", world.door() + "/.well-known/jwks.json")
        assert answer.status == 200, f"the keys were answered {answer.status}"
    await load.stop()
    assert killed > 0, f"all {number} kills came too late, so nothing was tried"
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
    """Each replica's wall clock jumps every second to somewhere within four minutes of the right time, to both sides. Then one
    replica's clock is days ahead for a while, and minutes behind for another while."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert libraries, "libfaketime is missing; install Debian's faketime"
    for server in world.servers:
        await server.kill()
        _set_clock(world, server, 0)
        server.env = {**server.env, "LD_PRELOAD": str(libraries[0]), "FAKETIME_TIMESTAMP_FILE": str(_clock_file(world, server)),
                      "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_CACHE_DURATION": "1"}
    await world.up()
    load, jumps, widest = Load(world, 3), 0, 0.0
    ends = time.monotonic() + max(15, min(count / 5, 120))
    while time.monotonic() < ends:
        for server in world.servers:
            _set_clock(world, server, world.rng.randint(-CLOCK_ERROR_SECONDS, CLOCK_ERROR_SECONDS))
            jumps += 1
        await asyncio.sleep(1.0)
        widest = max(widest, abs(await _clock_error(world.rng.choice(world.servers))))
    for server in world.servers:
        _set_clock(world, server, 0)
    await load.stop()
    assert widest > CLOCK_ERROR_SECONDS / 4, f"the clocks were never wrong by more than {widest:.0f} s, so nothing was tried"
    shown = [user for user in load.users if user.token]
    for user in shown[-5:]:
        answer = await send("GET", world.door() + "/api/licenses/current", token=user.token)
        assert answer.status == 200, f"after the jumps a license was answered {answer.status}"
    far = [await _far(world, number, name, seconds) for number, (name, seconds) in enumerate(FAR.items())]
    return f"{jumps} jumps of up to {CLOCK_ERROR_SECONDS} s to either side, seen up to {widest:.0f} s; {'; '.join(far)}"


async def _far(world: World, number: int, name: str, seconds: int) -> str:
    """One replica's clock is wrong by so much under load, and is right again. It still knows good events by its own clock, takes no
    time from anybody's license, and what was true later is the newer version, whatever the clock said."""
    early, late = (User(world, 70_000 + 2 * number + one, door=0) for one in range(2))
    assert await early.sign_up(), "a user could not sign up"
    load = Load(world, 3)
    await _until_clock(world, seconds)
    begun = time.time()
    assert await late.sign_up(), f"nobody can sign up with a clock that is wrong by {name}"
    assert _claims(late.licence)["exp"] >= begun + TRIAL_SECONDS + min(0, seconds) - 5, f"a trial of {name} is too short"
    await _same_end(early, name)
    answers = [(await deliver(world, plain_event(f"evt_far{number}x{one}"), at=int(time.time()) + seconds))[0] for one in range(5)]
    assert all(one is not None and one.status == 200 for one in answers), f"events of the clock's own time were answered {answers}"
    # Old by its clock is refused, as is meant; the provider sends it again. What comes from later is good.
    (other,) = await deliver(world, plain_event(f"evt_far{number}other"))
    assert other is not None and other.status == (400 if seconds > TOLERANCE_SECONDS else 200), f"an event of the right time was answered {other}"
    await asyncio.sleep(FAR_SECONDS)
    await _until_clock(world, 0)
    # The license of the trial was signed by the wrong clock, and the one that is paid for by the right one.
    assert await late.buy(), "who signed up by a wrong clock cannot buy"

    async def is_paid() -> bool:
        return not _claims(await _current(late))["trial"]

    await until("who signed up by a wrong clock and paid has a license", is_paid, 60, 0.5)
    await _same_end(early, f"{name}, after it was right again")
    await load.stop()
    waiting = f", {await _wait_for_days(world)}" if seconds > 0 else ""
    rows = await world.rows(f"select version, token from licenses where customer_id = '{late.customer_id}' order by version")
    signed = [_claims(token)["iat"] - begun for _, token in rows]
    assert (signed[-1] < signed[0]) == (seconds > 0), f"{name}: versions were signed at {signed}, so nothing was tried"
    assert _claims(rows[-1][1]) == _claims(await _current(late)), f"{name}: the newest version is not the one that is shown"
    return (f"{name}: 5 good events taken in by that clock, versions signed {', '.join(f'{one:+.0f} s' for one in signed)} in their order"
            f"{waiting}")


async def _wait_for_days(world: World) -> str:
    """What a clock that was ahead put off is due by that clock. How much that is belongs to what is printed."""
    day, told = time.time() + 86_400, []
    for table, what in (("outbox", "mails"), ("webhook_inbox", "events")):
        rows = await world.rows(f"select run_at from {table} where state = 'pending'")
        told.append(f"{sum(datetime.fromisoformat(row[0]).timestamp() > day for row in rows)} {what}")
    return f"{' and '.join(told)} left to wait for a day that it took for today"


async def _current(user: User) -> str:
    answer = await send("GET", user.world.door(user.door) + "/api/licenses/current", token=user.token)
    assert answer.status == 200, f"a license was answered {answer.status}"
    return str(answer.json()["token"])


async def _same_end(user: User, name: str) -> None:
    """What was signed by a right clock ends when it ended, shown and refreshed."""
    answer = await send("POST", user.world.door(user.door) + "/api/licenses/refresh", body={"token": user.licence})
    assert answer.status == 200, f"{name}: a license was refreshed with {answer.status}"
    for token in (str(answer.json()["token"]), await _current(user)):
        assert _claims(token)["exp"] >= _claims(user.licence)["exp"], f"{name}: a license lost time"


def _claims(token: str) -> dict[str, Any]:
    """What a license says; who signed it is the judge's question."""
    body = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))


def _clock_file(world: World, server: Server) -> Path:
    return world.folder / f"{server.name}.clock"


def _set_clock(world: World, server: Server, seconds: int) -> None:
    _clock_file(world, server).write_text(f"{seconds:+d}\n")


async def _until_clock(world: World, seconds: int) -> None:
    server = world.servers[0]
    _set_clock(world, server, seconds)

    async def is_set() -> bool:
        return abs(await _clock_error(server) - seconds) < 5

    await until(f"the clock is wrong by {seconds} s", is_set, 20, 0.2)


async def _clock_error(server: Server) -> float:
    """How much a server's clock is ahead, by the newest line of its log. The date in the heads of answers is kept by the HTTP library,
    which does not turn it back."""
    try:
        await send("GET", f"{server.base}/livez", timeout=5)
    except Broken:
        return 0.0
    told = [line for line in server.said().splitlines() if line.startswith('{"timestamp":') and line.endswith("}")]
    return datetime.fromisoformat(json.loads(told[-1])["timestamp"]).timestamp() - time.time() if told else 0.0


async def weather(world: World, count: int) -> str:
    """No process dies; each connection between any two of them may be refused, late, cut, slow, or silent after the request.

    A fault is drawn for each new connection, and those to Stripe are kept: so they are cut every second. Where nothing went wrong yet
    between some two, it takes longer."""
    world.storm(1.5)
    world.mail.moods = ["well", "slow", "drop_after_data", "full"]
    load = Load(world, 4)
    stormy = [proxy for proxy in world.proxies() if proxy.weather.chances]
    ends = time.monotonic() + max(20, min(count / 4, 300))
    while time.monotonic() < ends or (not all(proxy.counts for proxy in stormy) and time.monotonic() < ends + 60):
        await asyncio.sleep(1)
        world.to_stripe.cut_all()
    await load.stop()
    faults: dict[str, int] = {}
    for proxy in stormy:
        assert proxy.counts, f"no fault was drawn at {proxy.name}, so nothing was tried there"
        for kind, number in proxy.counts.items():
            faults[kind] = faults.get(kind, 0) + number
    told = ", ".join(f"{kind} {number}" for kind, number in sorted(faults.items()))
    return f"faults at each of {', '.join(proxy.name for proxy in stormy)}: {told}"
