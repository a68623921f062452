"""PostgreSQL that is restarted, that ends our sessions, refuses them, and fails over."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Iterable
from typing import Any

from client import Broken, send, until
from load import Load, User, taken_in
from postgres import Postgres, Strangers
from proxy import CALM, Weather
from refusals import refuses
from world import World

# A request waits five seconds for a connection, and ten for a lock; an event waits for neither.
ANSWER_SECONDS_MAX = 15.0
EVENT_SECONDS_MAX = 2.0
LOCKED_SECONDS = 9
# More than the connections of a replica.
POOLED = 24
# The sessions of the replicas, and those that have not last taken an event in.
OURS = "application_name = 'counterfoil'"
ELSE = "query not like 'insert into webhook_inbox%'"


def _database(world: World) -> Postgres:
    assert world.postgres is not None, "this scenario is PostgreSQL's"
    return world.postgres


async def _answers(world: World) -> bool:
    try:
        return all([(await send("GET", f"{one.base}/readyz", timeout=2)).status == 200 for one in world.servers])
    except Broken:
        return False


async def restart(world: World, count: int) -> str:
    """`pg_ctl -m immediate` under load: no acknowledgement is lost, and the pools heal within five seconds."""
    load, healed = Load(world, 4), []
    for _ in range(max(2, count // 25)):
        await asyncio.sleep(world.rng.uniform(0.5, 1.5))
        await _database(world).restart()
        begun = time.monotonic()
        await until("the pools heal", lambda: _answers(world), 15, 0.05)
        healed.append(time.monotonic() - begun)
    await load.stop()
    assert max(healed) <= 5, f"a pool healed after {max(healed):.1f} s"
    return f"{len(healed)} restarts, the slowest healing {max(healed):.2f} s"


async def terminate(world: World, count: int) -> str:
    """`pg_terminate_backend` of sessions at random."""
    load, ended = Load(world, 4), 0
    for _ in range(max(20, count // 5)):
        await asyncio.sleep(world.rng.uniform(0.05, 0.4))
        rows = await _database(world).sql(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'counterfoil' and random() < 0.4"
        )
        ended += int(rows[0][0])
    await load.stop()
    assert ended > 0, "no session was ended, so nothing was tried"
    return f"{ended} sessions ended"


async def serializable(world: World, count: int) -> str:
    """40001: the server asks for `read committed` by name, so the proxy writes SERIALIZABLE into each of its transactions."""
    assert world.to_database is not None
    asked, forced = b"isolation level read committed", b"isolation level serializable  "
    assert len(asked) == len(forced)
    world.to_database.rewrite = (asked, forced)
    load = Load(world, 6)
    await asyncio.sleep(max(8, min(count / 5, 60)))
    await load.stop()
    world.to_database.rewrite = None
    conflicts = _database(world).logged("could not serialize access")
    assert conflicts > 0, "PostgreSQL refused no transaction, so nothing was tried"
    return f"{conflicts} transactions were refused with 40001"


async def deadlocks(world: World, count: int) -> str:
    """40P01: a stranger locks tables in the opposite order. It notices a deadlock later than our sessions do, so that ours are the victims."""
    load, rounds = Load(world, 6), 0
    ends = time.monotonic() + max(12, min(count / 5, 60))
    while time.monotonic() < ends:
        await asyncio.sleep(world.rng.uniform(0.1, 0.4))
        rounds += 1
        try:
            await _database(world).sql(
                "set deadlock_timeout = '20s'; set lock_timeout = '3s'; begin; lock table outbox, licenses in exclusive mode; "
                "select pg_sleep(0.3); lock table customers, subscriptions, customer_leases, webhook_inbox in exclusive mode; commit"
            )
        except RuntimeError:
            continue  # The stranger gives way when it has waited for too long.
    await load.stop()
    victims = _database(world).logged("deadlock detected")
    assert victims > 0, "there was no deadlock, so nothing was tried"
    return f"{victims} deadlocks in {rounds} rounds"


async def connections(world: World, count: int) -> str:
    """A lock holds all connections of the replicas, then strangers take all that PostgreSQL has: who asks is told to come again, in
    time, and events are taken in meanwhile, over connections that nothing else may use."""
    user = User(world, 50_000)
    assert await user.sign_up(), "a user could not sign up"
    locked = await _locked(world, user)
    taken = await _taken(world)
    await until("the pools heal", lambda: _answers(world), 15)
    load = Load(world, 2)
    await asyncio.sleep(2)
    await load.stop()
    return f"all held by a lock: {locked}; all taken by others: {taken}"


async def _locked(world: World, user: User) -> str:
    """Somebody locks tables for long; so many wait for them that no connection is left in the pools."""
    lock = f"begin; lock table customers, sessions in access exclusive mode; select pg_sleep({LOCKED_SECONDS}); commit"
    locking = asyncio.create_task(_database(world).sql(lock))

    async def is_locked() -> bool:
        rows = await _database(world).sql("select count(*) from pg_locks where mode = 'AccessExclusiveLock' and relation = 'customers'::regclass")
        return rows != [["0"]]

    await until("the tables are locked", is_locked, 10)
    waiting = [_timed(world.door(number) + "/api/licenses/current", user.token) for number in range(2 * POOLED)]
    told = await _pressed(world, "locked", waiting)
    await locking
    return told


async def _taken(world: World) -> str:
    """Strangers hold all connections but those that take in: these were opened by earlier events, and are not given away."""
    for number in range(6):
        await asyncio.gather(*(taken_in(world, f"evt_before{number}x{door}", door) for door in range(len(world.doors))))
    strangers = await Strangers(_database(world)).come()
    try:

        async def are_all() -> bool:
            if strangers.refused == 0:
                return False
            await strangers.sql(f"select pg_terminate_backend(pid) from pg_stat_activity where {OURS} and {ELSE}")
            rows = await strangers.sql(f"select count(*) filter (where {OURS} and {ELSE}), "
                                       f"count(*) filter (where {OURS} or application_name = 'stranger') from pg_stat_activity")
            return rows == [["0", _database(world).settings["max_connections"]]]

        await until("all is taken", are_all, 20, 0.2)
        rows = await strangers.sql(f"select count(*) from pg_stat_activity where {OURS}")
        told = await _pressed(world, "taken")
        return f"{told}, with {rows[0][0]} connections left to the replicas and {strangers.held} in strangers' hands"
    finally:
        await strangers.leave()


async def _pressed(world: World, name: str, waiting: Iterable[Coroutine[Any, Any, tuple[int, float]]] = ()) -> str:
    """Asks whether the replicas are ready, and delivers events: somebody is told to come again, nobody waits for long, and each good
    event is stored."""
    asked = [asyncio.ensure_future(one) for one in waiting]
    await asyncio.sleep(0.5)
    asked += [asyncio.ensure_future(_timed(world.door(number) + "/readyz")) for number in range(6)]
    events = []
    for number in range(8):
        events.append(await taken_in(world, f"evt_{name}{number}", number))
        await asyncio.sleep(0.3)
    answers = await asyncio.gather(*asked)
    statuses, slowest = Counter(status for status, _ in answers), max(took for _, took in answers)
    told = f"{dict(statuses)} after {slowest:.1f} s at most, and {len(events)} good events 200 after {max(events):.2f} s at most"
    assert set(statuses) <= {200, 503} and statuses[503] >= len(world.doors), f"{name}: answered {told}"
    assert slowest <= ANSWER_SECONDS_MAX, f"{name}: answered {told}"
    assert max(events) <= EVENT_SECONDS_MAX, f"{name}: answered {told}"
    return told


async def _timed(url: str, token: str | None = None) -> tuple[int, float]:
    begun = time.monotonic()
    answer = await send("GET", url, token=token, timeout=ANSWER_SECONDS_MAX + 5)
    return answer.status, time.monotonic() - begun


async def _drop_ours(database: Postgres) -> None:
    try:
        await database.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'counterfoil'")
    except RuntimeError:
        pass  # No connection is left for us either, which is the point.


async def black_hole(world: World, count: int) -> str:
    """Every connection to PostgreSQL falls silent without an end, as when a firewall forgets it; then new ones work."""
    assert world.to_database is not None
    load = Load(world, 3)
    await asyncio.sleep(1)
    world.to_database.weather = Weather({"black_hole": 1.0}, 6.0)
    await _drop_ours(_database(world))
    await asyncio.sleep(6)
    world.to_database.weather = CALM
    begun = time.monotonic()
    await until("the pools heal", lambda: _answers(world), 60, 0.1)
    took = time.monotonic() - begun
    await load.stop()
    silent = world.to_database.counts.get("black_hole", 0)
    assert silent > 0, "no connection fell silent, so nothing was tried"
    return f"{silent} connections fell silent; ready {took:.1f} s after new ones worked"


async def failover(world: World, count: int) -> str:
    """A synchronous standby is promoted in the middle of load. First: nobody starts on a standby."""
    primary = _database(world)
    standby = await Postgres(world.folder / "standby").copy_of(primary)
    try:
        await primary.sql("alter system set synchronous_standby_names = 'standby'")
        await primary.sql("select pg_reload_conf()")

        async def synchronous() -> bool:
            return ["sync"] in await primary.sql("select sync_state from pg_stat_replication")

        await until("the standby is synchronous", synchronous)
        await refuses(world, "on-standby", world.data, ("takes no writes",), DATABASE_URL=standby.url() + "?sslmode=disable")
        load = Load(world, 4)
        await asyncio.sleep(4)
        await primary.stop()
        assert world.to_database is not None
        world.to_database.targets = [("127.0.0.1", standby.port)]
        world.to_database.cut_all()
        await standby.promote()
        begun = time.monotonic()
        # The judge reads the new primary; the copied setting would have it wait for a standby that is not there.
        await standby.sql("alter system reset synchronous_standby_names")
        await standby.sql("select pg_reload_conf()")
        await until("the pools heal", lambda: _answers(world), 15)
        took = time.monotonic() - begun
        await asyncio.sleep(3)
        await load.stop()
    except BaseException:
        await standby.stop()
        raise
    world.postgres = standby
    return f"ready {took:.2f} s after the promotion; a start on the standby was refused, with its reason"
