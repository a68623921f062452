"""Child processes with logs in files. Whatever is started here is ended by `end_all`, also on Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from pathlib import Path

from client import is_up, until

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("COUNTERFOIL_CHAOS_BINARY") or ROOT / "target/release/counterfoil").resolve()
SANDBOX_KEY = "sk_test_sandbox"

_running: list[subprocess.Popen[bytes]] = []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(extra: dict[str, str]) -> dict[str, str]:
    """No developer's setting reaches a child."""
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TZ": "UTC", "HOME": "/tmp", **extra}


def end_all() -> None:
    for child in _running:
        if child.poll() is None:
            child.send_signal(signal.SIGCONT)
            child.kill()
            child.wait()
    _running.clear()


class Child:
    """One program that can be started again after it ended. All its runs append to one log."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], folder: Path, cwd: Path | None = None) -> None:
        self.name = name
        self.command = command
        self.env = env
        self.cwd = cwd or folder
        self.log = folder / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def runs(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.command, env=clean_environment(self.env), cwd=self.cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        _running.append(self._child)

    def signal(self, number: signal.Signals) -> None:
        if self.runs and self._child is not None:
            self._child.send_signal(number)

    async def wait(self, seconds: float) -> int:
        """Its exit code; a negative one names the signal."""
        assert self._child is not None
        child = self._child

        async def ended() -> bool:
            return child.poll() is not None

        await until(f"{self.name} ends", ended, seconds, 0.02)
        if child in _running:
            _running.remove(child)
        return int(child.returncode)

    async def kill(self) -> None:
        if self.runs:
            self.signal(signal.SIGKILL)
            await self.wait(10)

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Server(Child):
    """`counterfoil serve` on a port that it keeps over restarts."""

    def __init__(self, name: str, env: dict[str, str], folder: Path, args: list[str] | None = None) -> None:
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        command = [*(args or []), str(BINARY), "serve"]
        super().__init__(name, command, {"COUNTERFOIL_LISTEN": f"127.0.0.1:{self.port}", **env}, folder)

    async def ready(self, seconds: float = 60.0) -> Server:
        async def answers() -> bool:
            if not self.runs:
                raise RuntimeError(f"{self.name} ended at its start:\n{self.said()[-2000:]}")
            return await is_up(f"{self.base}/readyz")

        await until(f"{self.name} is ready", answers, seconds, 0.05)
        return self


async def run(command: list[str], env: dict[str, str] | None = None, seconds: float = 60.0, cwd: Path | None = None) -> tuple[int, str]:
    """Runs a command to its end; answers its exit code and all that it printed."""
    process = await asyncio.create_subprocess_exec(
        *command, env=clean_environment(env or {}), cwd=cwd, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        return -9, f"{command[0]} did not end within {seconds:.0f} s"
    return process.returncode or 0, out.decode(errors="replace")
