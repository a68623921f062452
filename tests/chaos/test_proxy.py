"""The proxy does what its faults are called, byte by byte."""

from __future__ import annotations

import asyncio
import random
import time
import unittest

from proxy import Kind, Proxy, Weather

REQUEST = b"a request that asks for something"
ANSWER = b"an answer " * 400


class TestProxy(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.heard: list[bytes] = []
        self.far = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.proxy = await Proxy("test", [("127.0.0.1", self.far.sockets[0].getsockname()[1])], random.Random(1)).start()

    async def asyncTearDown(self) -> None:
        await self.proxy.stop()
        self.far.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.append(await reader.read(len(REQUEST)))
        writer.write(ANSWER)
        writer.close()

    async def _ask(self, kind: Kind | None, seconds: float = 0.02) -> bytes:
        self.proxy.weather = Weather({kind: 1.0} if kind else {}, seconds)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
            writer.write(REQUEST)
            answer = await asyncio.wait_for(reader.read(), 5)
            writer.transport.abort()
            return answer
        except OSError:
            return b""

    async def test_fair_weather_passes_everything(self) -> None:
        self.assertEqual(await self._ask(None), ANSWER)
        self.assertEqual(self.heard, [REQUEST])

    async def test_refused_reaches_nobody(self) -> None:
        self.assertEqual(await self._ask("refuse"), b"")
        self.assertEqual(self.heard, [])

    async def test_black_hole_loses_the_answer_after_the_request_went_through(self) -> None:
        answer = await self._ask("black_hole", 0.06)
        self.assertEqual(self.heard, [REQUEST])
        self.assertLess(len(answer), len(ANSWER))

    async def test_cut_answer_is_a_beginning_of_it(self) -> None:
        answer = await self._ask("cut_answer")
        self.assertTrue(ANSWER.startswith(answer) and len(answer) < len(ANSWER))

    async def test_delay_is_late_and_whole(self) -> None:
        begun = time.monotonic()
        self.assertEqual(await self._ask("delay", 0.3), ANSWER)
        self.assertGreater(time.monotonic() - begun, 0.05)

    async def test_rewriting_keeps_the_length(self) -> None:
        self.proxy.rewrite = (b"asks", b"begs")
        await self._ask(None)
        self.assertEqual(self.heard, [REQUEST.replace(b"asks", b"begs")])


if __name__ == "__main__":
    unittest.main()
