"""A scenario in which nothing happened has not gone well: each is run in a world that stands still, and then in one that moves."""

from __future__ import annotations

import random
import unittest
from collections import Counter
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock, patch

import scenarios_crash as crash
import scenarios_database as database
import scenarios_maintenance as maintenance
from client import Answer
from proxy import CALM, Weather


def proxy(name: str, **counts: int) -> Any:
    return SimpleNamespace(name=name, weather=Weather({"refuse": 1.0}), counts=counts, cut_all=MagicMock())


def world(*acknowledged: str, ended: int = 0, **counts: int) -> Any:
    """One where this was acknowledged, so many sessions ended, and these faults were drawn at each place."""
    places = [proxy("stripe", **counts), proxy("mail", **counts)]
    return SimpleNamespace(
        rng=random.Random(1), storm=MagicMock(), mail=SimpleNamespace(moods=[]), up=AsyncMock(), rows=AsyncMock(return_value=[]), env={},
        servers=[SimpleNamespace(runs=True, kill=AsyncMock(), start=MagicMock())], history=SimpleNamespace(acknowledged=Counter(acknowledged)),
        postgres=SimpleNamespace(sql=AsyncMock(return_value=[[str(ended)]])), to_database=proxy("database", **counts), door=lambda: "http://x",
        to_stripe=places[0], proxies=lambda: [*places, SimpleNamespace(name="webhooks", weather=CALM, counts={})],
    )


class TestFloors(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        # No time passes by itself: each sleep takes as long as it says.
        self.now = 0.0
        self.replace("asyncio.sleep", self.sleep)
        user = MagicMock(return_value=MagicMock(sign_up=AsyncMock(return_value=True)))
        for module in (crash, database, maintenance):
            self.replace(f"{module.__name__}.Load", MagicMock(return_value=MagicMock(stop=AsyncMock())))
            self.replace(f"{module.__name__}.User", user)
            self.replace(f"{module.__name__}.time", SimpleNamespace(monotonic=lambda: self.now))

    def replace(self, name: str, by: Any) -> None:
        patched = patch(name, by)
        patched.start()
        self.addCleanup(patched.stop)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def refused(self, words: str, scenario: Any, where: Any, count: int = 20) -> None:
        with self.assertRaisesRegex(AssertionError, words):
            await scenario(where, count)

    async def test_kills(self) -> None:
        await self.refused(r"of 90 kills only \{\} were acknowledged", crash.kills, world())
        await self.refused("so little was tried", crash.kills, world(*["webhook"] * 50))
        await self.refused("so little was tried", crash.kills, world(*["pay"] * 19))
        self.assertIn("20 kills", await crash.kills(world(*["pay"] * 20), 20))

    async def test_terminate(self) -> None:
        await self.refused("no session was ended", database.terminate, world())
        self.assertEqual(await database.terminate(world(ended=2), 20), "40 sessions ended")

    async def test_black_hole(self) -> None:
        self.replace("scenarios_database.until", AsyncMock())
        await self.refused("no connection fell silent", database.black_hole, world())
        self.assertIn("3 connections fell silent", await database.black_hole(world(black_hole=3), 20))

    async def test_weather(self) -> None:
        await self.refused("no fault was drawn at stripe", maintenance.weather, world())
        self.assertEqual(self.now, 80, "it waits for a fault, and not for ever")
        one_sided = world(refuse=1)
        one_sided.to_stripe.counts = {}
        await self.refused("no fault was drawn at stripe", maintenance.weather, one_sided)
        self.assertIn("refuse 2", await maintenance.weather(world(refuse=1), 20))

    async def test_migrate(self) -> None:
        self.replace("scenarios_maintenance._migrated", AsyncMock(side_effect=[28] + [-1] * 100))
        await self.refused("all 100 kills came too late", maintenance.migrate, world())
        self.replace("scenarios_maintenance._migrated", AsyncMock(side_effect=[28] + [-1] * 10 + [0]))
        self.assertIn("1 kills in the middle", await maintenance.migrate(world(), 20))

    async def test_rotate(self) -> None:
        self.replace("scenarios_maintenance.run", AsyncMock(return_value=(0, "")))
        self.replace("scenarios_maintenance.send", AsyncMock(return_value=Answer(200, "")))
        self.replace("scenarios_maintenance._killed_after", AsyncMock(return_value=False))
        await self.refused("all 100 kills came too late", maintenance.rotate, world())
        self.replace("scenarios_maintenance._killed_after", AsyncMock(side_effect=[False] * 10 + [True]))
        self.assertIn("1 rotations killed", await maintenance.rotate(world(), 20))


if __name__ == "__main__":
    unittest.main()
