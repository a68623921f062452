"""Processes that are killed, frozen, and asked to stop, under load."""

from __future__ import annotations

import asyncio
import signal
import time

from client import Broken, is_up, send
from load import Load, User
from world import ORIGIN, World

# The application's lease lasts ten seconds; a pause has to be longer than that.
PAUSE_SECONDS = 14.0
STOP_SECONDS_MAX = 20.0


async def kills(world: World, count: int) -> str:
    """Random SIGKILLs, also of the last replica, in bad weather, while users sign up, buy and cancel."""
    world.storm(0.5)
    world.mail.moods = ["well", "well", "well", "down", "greylist", "full", "drop_after_data", "garbage"]
    load = Load(world, 4)
    done = 0
    while done < count:
        await asyncio.sleep(world.rng.uniform(0.05, 0.6))
        victims = [one for one in world.servers if one.runs]
        if len(victims) > 1 and world.rng.random() < 0.6:
            victims = [world.rng.choice(victims)]
        for victim in victims:
            await victim.kill()
            done += 1
        await asyncio.sleep(world.rng.uniform(0.0, 0.2))
        for server in world.servers:
            if not server.runs:
                server.start()
        # Half of them are killed again while they start.
        if world.rng.random() < 0.5:
            await world.up()
    await world.up()
    await load.stop()
    return f"{done} kills"


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
    """A replica is frozen for longer than its lease lasts, and wakes up in the middle of what it was doing."""
    load = Load(world, 4)
    for _ in range(max(1, min(count // 100, 4))):
        await asyncio.sleep(world.rng.uniform(0.5, 2.0))
        server = world.rng.choice(world.servers)
        server.signal(signal.SIGSTOP)
        await asyncio.sleep(PAUSE_SECONDS)
        server.signal(signal.SIGCONT)
    await load.stop()
    return f"pauses of {PAUSE_SECONDS:.0f} s"


async def slow_stripe(world: World, count: int) -> str:
    """Stripe takes ten seconds for each call of 200 checkouts; licenses, pages and webhooks go on."""
    users = [User(world, number) for number in range(20)]
    for user in users:
        assert await user.sign_up(), "a user could not sign up"
    await send("POST", f"{world.sandbox_base}/_sandbox/faults", body={"slow": {"times": 100_000, "millis": 10_000}})
    body = {"plan": "professional", "success_url": "http://localhost:3000/s", "cancel_url": "http://localhost:3000/c"}
    clicks = [
        asyncio.create_task(world.history.call(
            "checkout", {"customer_id": user.customer_id, "email": user.email}, "POST", world.door(number) + "/api/subscriptions/checkout",
            body={**body, "customer_id": user.customer_id}, token=user.token, timeout=60))
        for number in range(10) for user in users
    ]
    slowest, asked = 0.0, 0
    ends = time.monotonic() + 8
    while time.monotonic() < ends:
        for method, path, arguments in (
            ("GET", "/api/licenses/current", {"token": users[0].token}),
            ("GET", "/login", {}),
            ("POST", "/api/webhooks/stripe", {"raw": b"{}", "headers": {"stripe-signature": "t=1,v1=00"}}),
        ):
            begun = time.monotonic()
            try:
                answer = await send(method, world.door() + path, timeout=10, **arguments)
            except Broken as error:
                raise AssertionError(f"{path} did not answer while Stripe was slow: {error}") from error
            assert answer.status in (200, 400), f"{path} answered {answer.status} while Stripe was slow"
            slowest, asked = max(slowest, time.monotonic() - begun), asked + 1
    await send("DELETE", f"{world.sandbox_base}/_sandbox/faults")
    for click in clicks:
        click.cancel()
    await asyncio.gather(*clicks, return_exceptions=True)
    return f"{asked} requests beside 200 waiting checkouts, the slowest {slowest * 1000:.0f} ms"


async def argon2_flood(world: World, count: int) -> str:
    """300 logins at once; a webhook goes on being taken."""
    flood = [
        asyncio.create_task(send("POST", world.door() + "/api/customers/login", body={"email": f"x{n}@example.com", "password": "NotThePassword1"}))
        for n in range(300)
    ]
    await asyncio.sleep(0.2)
    slowest = 0.0
    for _ in range(10):
        begun = time.monotonic()
        answer = await send("POST", world.door() + "/api/webhooks/stripe", raw=b"{}", headers={"stripe-signature": "t=1,v1=00"})
        assert answer.status == 400, f"a forged webhook was answered {answer.status} in the flood"
        slowest = max(slowest, time.monotonic() - begun)
    answers = await asyncio.gather(*flood, return_exceptions=True)
    told = {one.status for one in answers if not isinstance(one, BaseException)}
    assert told <= {401, 503, 429}, f"logins were answered {told}"
    return f"300 logins answered {sorted(told)}, the slowest webhook beside them {slowest * 1000:.0f} ms"
