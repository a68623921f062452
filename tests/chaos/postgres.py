"""A private PostgreSQL with durability as it comes, that may be restarted, ended in the middle of work, and copied into a standby."""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
from pathlib import Path

from processes import free_port, run


def _bin() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    place = os.environ.get("PG_BIN") or (str(found[-1].parent) if found else None)
    if place is None:
        raise RuntimeError("no initdb found; install postgresql (Debian: apt-get install postgresql) or set PG_BIN")
    return Path(place)


def _as_postgres(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", os.environ.get("PG_TEST_USER", "postgres"), "--", *command] if os.getuid() == 0 else command


class Postgres:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.settings: dict[str, str] = {"max_connections": "100", "shared_buffers": "32MB"}

    def url(self, database: str = "counterfoil", port: int | None = None) -> str:
        return f"postgres://postgres@127.0.0.1:{port or self.port}/{database}"

    async def _must(self, *command: str, seconds: float = 90.0) -> str:
        code, said = await run(_as_postgres([str(_bin() / command[0]), *command[1:]]), seconds=seconds, cwd=self.folder)
        if code != 0:
            raise RuntimeError(f"{command[0]} failed with {code}: {said}\n{self._log()}")
        return said

    def _log(self) -> str:
        log = self.folder / "server.log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""

    def logged(self, words: str) -> int:
        """How often the server's log says so."""
        log = self.folder / "server.log"
        return log.read_text(errors="replace").count(words) if log.exists() else 0

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True)
        if os.getuid() == 0:
            shutil.chown(self.folder, os.environ.get("PG_TEST_USER", "postgres"))

    async def create(self) -> Postgres:
        self._make_folder()
        await self._must(
            "initdb", f"--pgdata={self.data}", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"
        )
        await self.start()
        await self.sql("create database counterfoil", database="postgres")
        return self

    async def copy_of(self, primary: Postgres) -> Postgres:
        """Becomes a streaming standby."""
        self._make_folder()
        source = f"host=127.0.0.1 port={primary.port} user=postgres application_name=standby"
        await self._must("pg_basebackup", "-D", str(self.data), "-R", "-X", "stream", "-c", "fast", "-d", source)
        await self.start()
        return self

    async def start(self) -> None:
        settings = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": str(self.folder), **self.settings}
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        # The server must not hold our pipe open, so its log goes to a file and pg_ctl's own words too.
        await self._must("pg_ctl", f"--pgdata={self.data}", f"--log={self.folder / 'server.log'}", "--wait", "--silent", f"--options={options}", "start")

    async def stop(self, mode: str = "immediate") -> None:
        await self._must("pg_ctl", f"--pgdata={self.data}", f"--mode={mode}", "--silent", "stop")

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def promote(self) -> None:
        await self._must("pg_ctl", f"--pgdata={self.data}", "--wait", "promote")

    async def sql(self, statement: str, database: str = "counterfoil") -> list[list[str]]:
        code, said = await run(
            ["psql", self.url(database), "--no-psqlrc", "-Atq", "-v", "ON_ERROR_STOP=1", "-c", statement], seconds=30
        )
        if code != 0:
            raise RuntimeError(f"psql: {said}")
        return [line.split("|") for line in said.splitlines()]


class Strangers:
    """Take each connection that PostgreSQL gives out, also those that come free, and keep all of them until they leave."""

    def __init__(self, database: Postgres) -> None:
        self.database = database
        self.refused = 0
        self._held: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def held(self) -> int:
        return len(self._held)

    async def come(self) -> Strangers:
        self._tasks = [asyncio.create_task(self._take()) for _ in range(4)]
        return self

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _, writer in self._held:
            writer.transport.abort()
        self._held.clear()

    async def _take(self) -> None:
        words = b"user\0postgres\0database\0counterfoil\0application_name\0stranger\0\0"
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.database.port)
                writer.write(struct.pack("!ii", len(words) + 8, 3 << 16) + words)
                await _answer(reader)
            except (OSError, EOFError, RuntimeError):
                self.refused += 1
                await asyncio.sleep(0.02)
            else:
                self._held.append((reader, writer))

    async def sql(self, statement: str) -> list[list[str]]:
        """Asks over a connection that is held: no other is to be had."""
        reader, writer = self._held[0]
        words = statement.encode() + b"\0"
        writer.write(b"Q" + struct.pack("!i", len(words) + 4) + words)
        return await _answer(reader)


async def _answer(reader: asyncio.StreamReader) -> list[list[str]]:
    """Reads until PostgreSQL is ready for the next statement; answers the rows that came. An error is raised."""
    rows: list[list[str]] = []
    while True:
        kind, size = struct.unpack("!ci", await reader.readexactly(5))
        body = await reader.readexactly(size - 4)
        if kind == b"E":
            raise RuntimeError(body.decode(errors="replace"))
        if kind == b"Z":
            return rows
        if kind == b"D":
            rows.append(_row(body))


def _row(body: bytes) -> list[str]:
    values, at = list[str](), 2
    for _ in range(struct.unpack_from("!h", body)[0]):
        size = max(0, struct.unpack_from("!i", body, at)[0])
        values.append(body[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return values
