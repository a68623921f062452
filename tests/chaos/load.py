"""Users: they sign up, log in, click twice, pay, refresh, cancel, and try again what broke. All of it goes into the history."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from typing import Any

from client import Answer, Broken, send
from history import History
from processes import SANDBOX_KEY
from world import ORIGIN, World

TRIES = 12


def signature(secret: str, payload: bytes, at: int | None = None) -> str:
    moment = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


class User:
    def __init__(self, world: World, number: int, door: int | None = None) -> None:
        """With `door`, somebody who always asks the same replica."""
        self.world = world
        self.door = door
        self.history: History = world.history
        # What must never stand in a log: the password is a canary, and so are tokens and the address.
        self.email = f"canary.user{number}.{world.rng.randrange(10**9)}@example.com"
        self.password = f"CanaryPass-{world.rng.randrange(10**12)}"
        self.customer_id = ""
        self.token = ""
        self.licence = ""

    async def _insist(self, op: str, path: str, **request: Any) -> Answer | None:
        """Tries again, as a person would, until there is an answer that is not `come again`. A 500 is none: nobody said to come again."""
        for _ in range(TRIES):
            answer = await self.history.call(op, self._who(request), "POST", self.world.door(self.door) + path, token=self.token or None, **request)
            if answer is not None and answer.status not in (502, 503, 504, 429):
                return answer
            await asyncio.sleep(self.world.rng.uniform(0.1, 1.0))
        return None

    def _who(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"customer_id": self.customer_id, "email": self.email, "password": self.password, **{k: v for k, v in (request.get("body") or {}).items() if k != "email"}}

    async def sign_up(self) -> bool:
        account = {"email": self.email, "password": self.password}
        answer = await self._insist("sign_up", "/api/customers/signup", body=account)
        if answer is not None and answer.status == 201:
            body = answer.json()
            self.customer_id, self.token = body["customer"]["customer_id"], body["token"]
            self.licence = body["license"]["token"]
            return True
        # The first try may have been done although its answer was lost.
        return await self.log_in() if answer is not None and answer.status == 409 else False

    async def log_in(self) -> bool:
        self.token = ""
        answer = await self._insist("log_in", "/api/customers/login", body={"email": self.email, "password": self.password})
        if answer is None or answer.status != 200:
            return False
        self.token, self.customer_id = answer.json()["token"], answer.json()["customer"]["customer_id"]
        return True

    async def buy(self) -> bool:
        """Clicks at the same moment on every replica, insists, and pays once."""
        body = {"customer_id": self.customer_id, "plan": "professional", "success_url": f"{ORIGIN}/success", "cancel_url": f"{ORIGIN}/cancel"}
        barrier = asyncio.Barrier(2)

        async def click(number: int) -> None:
            await barrier.wait()
            url = self.world.door(number) + "/api/subscriptions/checkout"
            await self.history.call("checkout", self._who({"body": body}), "POST", url, body=body, token=self.token)

        await asyncio.gather(click(0), click(1))
        answer = await self._insist("checkout", "/api/subscriptions/checkout", body=body)
        if answer is None or answer.status != 200:
            return False
        for _ in range(TRIES):
            paid = await self.history.call("pay", self._who({}), "POST", answer.json()["checkout_url"], form={"card": "success"})
            if paid is not None and paid.status in (303, 409):
                return True
            await asyncio.sleep(0.3)
        return False

    async def look(self) -> None:
        door = self.world.door(self.door)
        await self.history.call("current_license", self._who({}), "GET", f"{door}/api/licenses/current", token=self.token)
        if self.licence:
            body = {"token": self.licence}
            await self.history.call("refresh", {"customer_id": self.customer_id}, "POST", f"{door}/api/licenses/refresh", body=body)

    async def cancel(self) -> None:
        await self._insist("cancel", "/api/subscriptions/cancel")

    async def live(self) -> None:
        rng = self.world.rng
        if not await self.sign_up():
            return
        await self.look()
        if rng.random() < 0.2:
            await self.log_in()
        if rng.random() < 0.7 and await self.buy():
            await asyncio.sleep(rng.uniform(0.2, 1.5))
            await self.look()
            if rng.random() < 0.25:
                await self.cancel()


async def redeliver(world: World, times: int = 20) -> None:
    """Sends the sandbox's newest events again, each many times at the same moment, to all replicas."""
    answer = await send("GET", f"{world.sandbox_base}/v1/events?limit=5", token=SANDBOX_KEY)
    for event in answer.json()["data"]:
        await deliver(world, event, times)


def plain_event(event_id: str, **more: str) -> dict[str, Any]:
    """An event that is stored, and that nothing follows from."""
    return {"id": event_id, "object": "event", "type": "plan.created", "livemode": False, "created": 1,
            "api_version": "2026-05-27.dahlia", "data": {"object": {"id": "x", "object": "plan", **more}}}


async def taken_in(world: World, event_id: str, door: int = 0) -> float:
    """Delivers a well-signed event that has to be answered 200. Answers how long that took."""
    begun = time.monotonic()
    (answer,) = await deliver(world, plain_event(event_id), first=door)
    took = time.monotonic() - begun
    told = "with nothing" if answer is None else answer.status
    assert told == 200, f"a good event was answered {told} after {took:.1f} s"
    return took


async def deliver(
    world: World, event: dict[str, Any], times: int = 1, timeout: float = 30.0, *, first: int = 0, at: int | None = None
) -> list[Answer | None]:
    """Signs it, at this moment or as if it were another one, and sends it to so many replicas in turn."""
    payload = json.dumps(event).encode()
    headers = {"stripe-signature": signature(world.secret, payload, at), "content-type": "application/json"}
    return await asyncio.gather(
        *(
            world.history.call("webhook", {"event_id": event["id"]}, "POST", world.door(number) + "/api/webhooks/stripe", raw=payload,
                               headers=headers, timeout=timeout)
            for number in range(first, first + times)
        )
    )


class Load:
    """So many users at a time, each followed by another one, until `stop`."""

    def __init__(self, world: World, at_once: int = 4) -> None:
        self.world = world
        self.users: list[User] = []
        self._going = True
        self._tasks = [asyncio.create_task(self._loop()) for _ in range(at_once)]
        self._tasks.append(asyncio.create_task(self._redeliver()))

    async def _loop(self) -> None:
        while self._going:
            user = User(self.world, len(self.users))
            self.users.append(user)
            await user.live()

    async def _redeliver(self) -> None:
        while self._going:
            await asyncio.sleep(2.0)
            try:
                await redeliver(self.world)
            except Broken:
                continue

    async def stop(self) -> None:
        """Lets users finish what they do; who has not after a while is cut off, and what it had under way counts for nothing."""
        self._going = False
        await asyncio.wait(self._tasks, timeout=40)
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
