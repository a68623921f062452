"""Processes that are killed, frozen, and asked to stop, under load."""

from __future__ import annotations

import asyncio
import signal
import statistics
import time
from collections import Counter

from client import Answer, Broken, is_up, send, until
from load import Load, User, taken_in
from world import ORIGIN, World

# The application's lease lasts ten seconds; a pause has to be longer than that.
PAUSE_SECONDS = 14.0
STOP_SECONDS_MAX = 20.0
STRIPE_SECONDS = 10.0
# What waits neither for Stripe nor for passwords is answered within this, also on a machine that is busy with other things.
BESIDE_STRIPE_SECONDS_MAX = STRIPE_SECONDS / 2
BESIDE_LOGINS_SECONDS_MAX = 2.0
MEDIAN_SECONDS_MAX = 1.0


async def kills(world: World, count: int) -> str:
    """Random SIGKILLs, also of the last replica, in bad weather, while users sign up, buy and cancel."""
    world.storm(0.5)
    world.mail.moods = ["well", "well", "well", "down", "greylist", "full", "drop_after_data", "garbage"]
    load = Load(world, 4)
    done, before = 0, Counter[str]()

    def is_enough() -> bool:
        return before.total() >= count and before["pay"] > 0

    # What was acknowledged before a kill is what it can lose. Where that is too little, there are more kills.
    while done < count or (not is_enough() and done < 2 * count + 50):
        await asyncio.sleep(world.rng.uniform(0.05, 0.6))
        victims = [one for one in world.servers if one.runs]
        if len(victims) > 1 and world.rng.random() < 0.6:
            victims = [world.rng.choice(victims)]
        for victim in victims:
            await victim.kill()
            done += 1
        before = Counter(world.history.acknowledged)
        await asyncio.sleep(world.rng.uniform(0.0, 0.2))
        for server in world.servers:
            if not server.runs:
                server.start()
        # Half of them are killed again while they start.
        if world.rng.random() < 0.5:
            await world.up()
    await world.up()
    await load.stop()
    assert is_enough(), f"before the last of {done} kills only {dict(before)} were acknowledged, so little was tried"
    return f"{done} kills, before the last of which {before.total()} operations were acknowledged"


async def sigterm(world: World, count: int) -> str:
    """SIGTERM under load: in-flight work is done, the exit code is 0, and it takes no longer than 20 seconds."""
    await _finishes_what_it_does(world)
    load, took = Load(world, 4), list[float]()
    for _ in range(min(count, 6)):
        await asyncio.sleep(world.rng.uniform(0.3, 1.5))
        server = world.rng.choice(world.servers)
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        code = await server.wait(STOP_SECONDS_MAX + 2)
        took.append(time.monotonic() - begun)
        assert code == 0, f"SIGTERM ended it with {code}"
        assert took[-1] <= STOP_SECONDS_MAX, f"SIGTERM took {took[-1]:.1f} s"
        server.start()
        await server.ready()
    await load.stop()
    return f"a checkout under way was answered, with readiness off; {len(took)} stops with exit code 0, the longest {max(took):.1f} s"


async def _finishes_what_it_does(world: World) -> None:
    """A checkout waits for Stripe when SIGTERM comes: it is answered, and nobody is sent here any more."""
    user, server = User(world, 40_000), world.servers[0]
    assert await user.sign_up()
    slow = {"times": 1, "millis": 3_000, "path": "/v1/checkout/sessions", "method": "POST"}
    await send("POST", f"{world.sandbox_base}/_sandbox/faults", body={"slow": slow})
    body = {"customer_id": user.customer_id, "plan": "professional", "success_url": f"{ORIGIN}/s", "cancel_url": f"{ORIGIN}/c"}
    click = asyncio.create_task(world.history.call(
        "checkout", {"customer_id": user.customer_id}, "POST", server.base + "/api/subscriptions/checkout", body=body, token=user.token))
    await asyncio.sleep(1.0)
    assert not click.done(), "the checkout did not wait for Stripe, so nothing was tried"
    server.signal(signal.SIGTERM)
    await asyncio.sleep(0.5)
    assert not await is_up(f"{server.base}/readyz"), "it says that it is ready while it stops"
    answer = await click
    assert answer is not None and answer.status == 200, f"a checkout under way was cut off: {answer}"
    assert await server.wait(STOP_SECONDS_MAX) == 0
    server.start()
    await server.ready()


async def sigstop(world: World, count: int) -> str:
    """A replica is frozen while it holds leases, for longer than they last, and wakes up in the middle of what it was doing."""
    load, told = Load(world, 4), list[str]()
    for number in range(max(1, min(count // 100, 4))):
        user = User(world, 60_000 + number)
        assert await user.sign_up(), "a user could not sign up"
        await asyncio.sleep(world.rng.uniform(0.5, 2.0))
        told.append(await _frozen(world, user, world.rng.randrange(len(world.servers))))
    await load.stop()
    return f"{len(told)} pauses of {PAUSE_SECONDS:.0f} s: {'; '.join(told)}"


async def _frozen(world: World, user: User, number: int) -> str:
    """Stops the replica while a checkout of this user waits for Stripe, and has another replica take the user over."""
    server, who = world.servers[number], f"customer_id = '{user.customer_id}'"
    slow = {"times": 10_000, "millis": 4_000, "path": "/v1/checkout/sessions", "method": "POST"}
    await send("POST", f"{world.sandbox_base}/_sandbox/faults", body={"slow": slow})
    body = {"customer_id": user.customer_id, "plan": "professional", "success_url": f"{ORIGIN}/s", "cancel_url": f"{ORIGIN}/c"}

    async def click(door: int) -> Answer | None:
        url = world.door(door) + "/api/subscriptions/checkout"
        return await world.history.call("checkout", {"customer_id": user.customer_id}, "POST", url, body=body, token=user.token, timeout=60)

    async def holder() -> list[list[str]]:
        return await world.rows(f"select holder, fence from customer_leases where {who} and leased_until > now() and exists "
                                f"(select 1 from checkout_attempts where {who} and state = 'opening' and external_id is null)")

    async def written() -> list[list[str]]:
        return await world.rows(f"select fence, holder, attempt_id, external_id, state, a.updated_at from customer_leases l "
                                f"join checkout_attempts a on a.customer_id = l.customer_id where l.{who} order by a.id")

    frozen = asyncio.create_task(click(number))
    (name, fence), *_ = await until("the checkout holds its lease and waits for Stripe", holder, 20, 0.02)
    server.signal(signal.SIGSTOP)
    begun = time.monotonic()
    try:
        held = dict(await world.rows(f"select customer_id, fence from customer_leases where holder = '{name}' and leased_until > now()"))
        assert held.get(user.customer_id) == fence, "the lease was given back before the replica stood still, so nothing was tried"
        await send("DELETE", f"{world.sandbox_base}/_sandbox/faults")
        answer = await click(number + 1)
        waited = time.monotonic() - begun
        assert answer is not None and answer.status == 200, f"the other replica did not take over: {answer}"
        await asyncio.sleep(max(0.0, PAUSE_SECONDS - waited))
        now = {row[0]: int(row[1]) for row in await world.rows("select customer_id, fence from customer_leases")}
        over = [one for one, before in held.items() if now.get(one, 0) > int(before)]
        before = await written()
        assert user.customer_id in over and all(row[1] != name for row in before), f"nobody else took the lease of {name}: {before}"
    finally:
        server.signal(signal.SIGCONT)
    late = await frozen
    assert late is None or late.status >= 400, f"who has lost the lease answered {late}"
    await asyncio.sleep(1.0)
    assert await written() == before, f"who has lost the lease wrote: {before} became {await written()}"
    return (f"{len(held)} live leases in the stopped replica, {len(over)} taken over, the first after {waited:.1f} s; "
            f"awake again it answered {late.status if late else 'nothing'} and wrote nothing")


async def slow_stripe(world: World, count: int) -> str:
    """Stripe takes ten seconds for each call of 200 checkouts; licenses, pages and webhooks go on."""
    users = [User(world, number) for number in range(20)]
    for user in users:
        assert await user.sign_up(), "a user could not sign up"
    await send("POST", f"{world.sandbox_base}/_sandbox/faults", body={"slow": {"times": 100_000, "millis": int(STRIPE_SECONDS * 1000)}})
    body = {"plan": "professional", "success_url": "http://localhost:3000/s", "cancel_url": "http://localhost:3000/c"}
    clicks = [
        asyncio.create_task(world.history.call(
            "checkout", {"customer_id": user.customer_id, "email": user.email}, "POST", world.door(number) + "/api/subscriptions/checkout",
            body={**body, "customer_id": user.customer_id}, token=user.token, timeout=60))
        for number in range(10) for user in users
    ]
    took, events = list[float](), list[float]()
    ends = time.monotonic() + 8
    while time.monotonic() < ends:
        for path, token in (("/api/licenses/current", users[0].token), ("/login", None)):
            begun = time.monotonic()
            try:
                answer = await send("GET", world.door() + path, timeout=10, token=token)
            except Broken as error:
                raise AssertionError(f"{path} did not answer while Stripe was slow: {error}") from error
            assert answer.status == 200, f"{path} answered {answer.status} while Stripe was slow"
            took.append(time.monotonic() - begun)
        events.append(await taken_in(world, f"evt_slow{len(events):08d}", door=len(events)))
    waiting = sum(not click.done() for click in clicks)
    await send("DELETE", f"{world.sandbox_base}/_sandbox/faults")
    for click in clicks:
        click.cancel()
    await asyncio.gather(*clicks, return_exceptions=True)
    assert waiting >= len(clicks) / 2, f"only {waiting} of {len(clicks)} checkouts waited for Stripe, so little was tried"
    return (f"beside {waiting} waiting checkouts {_in_time('requests', took, BESIDE_STRIPE_SECONDS_MAX)}, "
            f"{_in_time('good webhooks', events, BESIDE_STRIPE_SECONDS_MAX)}")


def _in_time(what: str, took: list[float], seconds_max: float) -> str:
    """Nobody waited for what others are busy with."""
    slowest, middle = max(took), statistics.median(took)
    told = f"{len(took)} {what} answered after {middle * 1000:.0f} ms in the middle, {slowest * 1000:.0f} ms at most"
    assert slowest <= seconds_max and middle <= MEDIAN_SECONDS_MAX, f"too slow: {told}"
    return told


async def argon2_flood(world: World, count: int) -> str:
    """300 logins at once; webhooks go on being taken."""
    flood = [
        asyncio.create_task(send("POST", world.door() + "/api/customers/login", body={"email": f"x{n}@example.com", "password": "NotThePassword1"}))
        for n in range(300)
    ]
    await asyncio.sleep(0.2)
    events, beside = list[float](), 0
    for number in range(10):
        events.append(await taken_in(world, f"evt_flood{number:08d}"))
        beside += any(not login.done() for login in flood)
    answers = await asyncio.gather(*flood, return_exceptions=True)
    told = Counter(one.status for one in answers if not isinstance(one, BaseException))
    assert set(told) <= {401, 503, 429}, f"logins were answered {dict(told)}"
    assert beside > 0 and told[401] > 0, f"{beside} webhooks beside logins that were answered {dict(told)}: nothing was tried"
    return f"300 logins answered {dict(told)}; {_in_time('good webhooks', events, BESIDE_LOGINS_SECONDS_MAX)}, {beside} of them beside logins"
