"""A mail server that misbehaves by mood. What it took for good is a JSON line in its file: recipient, Message-ID, subject, and all its text."""

from __future__ import annotations

import asyncio
import json
import random
import re
from email import message_from_bytes, policy
from email.message import Message
from pathlib import Path
from typing import Literal

Mood = Literal["well", "down", "greylist", "full", "reject", "slow", "drop_after_data", "garbage"]


class MailSink:
    def __init__(self, path: Path, rng: random.Random) -> None:
        self.port = 0
        self.moods: list[Mood] = ["well"]
        self.counts: dict[str, int] = {}
        self._file = path.open("a", encoding="utf-8")
        self._rng = rng
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self) -> MailSink:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self._file.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        mood = self._rng.choice(self.moods)
        self.counts[mood] = self.counts.get(mood, 0) + 1
        try:
            if mood != "down":
                await self._talk(reader, writer, mood)
        except (OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass  # The server under test was killed in the middle of a mail.
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mood: Mood) -> None:
        async def say(line: str) -> None:
            for piece in [line[i : i + 8] for i in range(0, len(line), 8)] if mood == "slow" else [line]:
                writer.write(piece.encode())
                await writer.drain()
                if mood == "slow":
                    await asyncio.sleep(0.2)
            writer.write(b"\r\n")
            await writer.drain()

        await say("%PDF-1.7 \x00\x07 this is no mail server" if mood == "garbage" else "220 localhost ready")
        recipients: list[str] = []
        while line := (await reader.readline()).decode("latin-1").strip():
            verb = line[:4].upper()
            if verb == "QUIT":
                await say("221 bye")
                return
            if verb == "RCPT":
                refusal = {"greylist": "421 come again", "full": "450 mailbox busy", "reject": "550 no such user"}.get(mood)
                if refusal is not None:
                    await say(refusal)
                    if mood == "greylist":
                        return
                    continue
                recipients.append(line.partition("<")[2].partition(">")[0])
                await say("250 yes")
            elif verb == "DATA":
                await say("354 go on")
                mail = await reader.readuntil(b"\r\n.\r\n")
                if mood == "drop_after_data":
                    return
                # Written before the 250: a mail that the server believes sent is one that stands here.
                self._keep(recipients, mail)
                recipients = []
                await say("250 taken")
            else:
                await say("250 localhost")

    def _keep(self, recipients: list[str], mail: bytes) -> None:
        # A line that begins with a dot has two of them on its way, and the last line is the end's own dot.
        parsed = message_from_bytes(re.sub(rb"(?m)^\.", b"", mail), policy=policy.default)
        line = {"to": recipients, "message_id": parsed["message-id"], "subject": parsed["subject"], "text": _text(parsed)}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _text(mail: Message) -> str:
    """The heads and all parts as a reader sees them, whatever they were packed in."""
    heads = [f"{name}: {value}" for name, value in mail.items()]
    parts = [part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart()]
    return "\n".join(heads + [part.decode("utf-8", "replace") for part in parts if isinstance(part, bytes)])
