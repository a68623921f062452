"""A TCP proxy that misbehaves on purpose: one listener, one target that can change, and a fault drawn for each connection.

Faults act on bytes and know no protocol, so the same proxy stands before PostgreSQL, Stripe, the mail server and our own listeners.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["refuse", "delay", "cut_request", "cut_answer", "trickle", "black_hole"]
Address = tuple[str, int]

TRICKLE_SECONDS = 1.0
CHUNK = 65_536


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one connection.

    `black_hole` passes everything on to the target and nothing back: to the caller the answer is lost after the work was done.
    """

    kind: Kind
    at: int = 0
    seconds: float = 0.0


@dataclass
class Weather:
    """How likely each fault is, for every new connection."""

    chances: dict[Kind, float] = field(default_factory=dict)
    hold_seconds: float = 2.0

    def draw(self, rng: random.Random) -> Fault | None:
        dice = rng.random()
        for kind, chance in self.chances.items():
            if dice < chance:
                return Fault(kind, at=rng.randrange(1, 2_000), seconds=rng.uniform(0.05, self.hold_seconds))
            dice -= chance
        return None


CALM = Weather()


class Proxy:
    """Listens on a free port of loopback. Targets take turns; `weather` and `targets` may be changed while it runs."""

    def __init__(self, name: str, targets: list[Address], rng: random.Random) -> None:
        self.name = name
        self.targets = targets
        self.weather = CALM
        self.counts: dict[str, int] = {}
        # Bytes of a request that are replaced by as many others, so that the framing of the protocol stays whole.
        self.rewrite: tuple[bytes, bytes] | None = None
        self.port = 0
        self._rng = rng
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut_all()
        await asyncio.gather(*self._open, return_exceptions=True)

    def cut_all(self) -> None:
        """Cuts every open connection at once."""
        for task in list(self._open):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        fault = self.weather.draw(self._rng)
        if fault is not None:
            self.counts[fault.kind] = self.counts.get(fault.kind, 0) + 1
        try:
            await self._carry(reader, writer, fault)
        except (OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass  # One side went away, which is what this program is about.
        finally:
            self._open.discard(task)
            _abort(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None) -> None:
        if fault is not None and fault.kind == "refuse":
            return
        if fault is not None and fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        target = self.targets[self._turn % len(self.targets)]
        self._turn += 1
        far_reader, far_writer = await asyncio.open_connection(*target)
        up = asyncio.create_task(_pump(reader, far_writer, _only(fault, "cut_request"), self))
        down = asyncio.create_task(_pump(far_reader, writer, _only(fault, "cut_answer", "trickle", "black_hole")))
        try:
            done, _ = await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            # A clean end of the request half still waits for its answer; everything else ends both halves.
            if up in done and up.exception() is None and up.result() == "end":
                await asyncio.wait({down}, timeout=30)
        finally:
            for half in (up, down):
                half.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            _abort(far_writer)


def _only(fault: Fault | None, *kinds: Kind) -> Fault | None:
    return fault if fault is not None and fault.kind in kinds else None


def _abort(writer: asyncio.StreamWriter) -> None:
    if writer.transport is not None:
        writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None, proxy: Proxy | None = None) -> str:
    """Carries one direction until it ends or the fault says so. Answers `end` or `cut`."""
    passed = 0
    while data := await reader.read(CHUNK):
        if proxy is not None and proxy.rewrite is not None:
            data = data.replace(*proxy.rewrite)
        if fault is None:
            writer.write(data)
        elif fault.kind == "black_hole":
            # The first bytes pass: what is lost is an answer in the middle of a conversation, not only the first one.
            room = max(0, fault.at - passed)
            writer.write(data[:room])
            if room < len(data):
                await asyncio.sleep(fault.seconds * 10)
                return "cut"
        elif fault.kind == "trickle":
            for byte in data[: max(1, int(fault.seconds * 4))]:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(TRICKLE_SECONDS)
            writer.write(data[max(1, int(fault.seconds * 4)) :])
            fault = None
        else:
            room = fault.at - passed
            writer.write(data[:room])
            if room < len(data):
                await writer.drain()
                return "cut"
        passed += len(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    return "end"
