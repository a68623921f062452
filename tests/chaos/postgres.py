"""A private PostgreSQL with durability as it comes, that may be restarted, ended in the middle of work, and copied into a standby."""

from __future__ import annotations

import os
import shutil
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
