"""One HTTP request, one connection, and an honest answer to the question what is known of its outcome."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit


class Broken(Exception):
    """The connection ended before the whole answer was there: the server may have done it, or not."""


@dataclass
class Answer:
    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return json.loads(self.body)


async def send(
    method: str,
    url: str,
    *,
    body: Any = None,
    form: dict[str, str] | None = None,
    raw: bytes | None = None,
    token: str | None = None,
    headers: dict[str, str] | None = None,
    timeout: float = 30.0,
) -> Answer:
    """Sends it. Raises `Broken` unless a whole answer came in time."""
    parts = urlsplit(url)
    payload, kind = raw or b"", "application/json"
    if body is not None:
        payload = json.dumps(body).encode()
    elif form is not None:
        payload, kind = urlencode(form).encode(), "application/x-www-form-urlencoded"
    lines = {
        "host": parts.netloc,
        "connection": "close",
        "content-length": str(len(payload)),
        **({"content-type": kind} if payload else {}),
        **({"authorization": f"Bearer {token}"} if token else {}),
        **(headers or {}),
    }
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    try:
        async with asyncio.timeout(timeout):
            return await _exchange(parts.hostname or "127.0.0.1", parts.port or 80, head.encode() + payload)
    except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
        raise Broken(f"{type(error).__name__}: {error}") from error


async def _exchange(host: str, port: int, request: bytes) -> Answer:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        await writer.drain()
        return await _read(reader)
    finally:
        writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ", 2)[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read()
    return Answer(status, body.decode("utf-8", "replace"), headers)


async def is_up(url: str, **arguments: Any) -> bool:
    try:
        return (await send("GET", url, timeout=2.0, **arguments)).status == 200
    except Broken:
        return False


async def until(what: str, probe: Any, seconds: float = 30.0, every: float = 0.1) -> Any:
    """Asks `probe` until it answers something true."""
    deadline = time.monotonic() + seconds
    while True:
        if value := await probe():
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s in vain: {what}")
        await asyncio.sleep(every)
