"""Clients that are slow on purpose, by slowhttptest and by sockets of our own, while somebody at another address measures whether
others notice."""

from __future__ import annotations

import csv
import http.client
import json
import resource
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import judge
from target import Target

# From here the others ask: limits for one address are not theirs.
OTHERS = "127.0.0.2"

# The largest answer. Asked for ten times in a row on one connection, so that it does not fit into what the system keeps for a
# client that does not read: on loopback, where packets are large, that are megabytes.
LARGE = "/api/docs/swagger-ui-bundle.js"


@dataclass
class Prober:
    """Asks again and again, each time on a new connection, and notes how long it took."""

    target: Target
    license: str
    took: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, daemon=True)

    def __enter__(self) -> Prober:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(60)

    def _ask_on(self) -> None:
        number = 0
        while not self._end.wait(0.04):
            number += 1
            body = json.dumps({"token": self.license}) if number % 3 == 0 else None
            method, path = ("POST", "/api/licenses/validate") if body else ("GET", "/readyz" if number % 3 == 1 else "/login")
            begun = time.monotonic()
            try:
                door = http.client.HTTPConnection("127.0.0.1", self.target.port, timeout=20, source_address=(OTHERS, 0))
                door.request(method, path, body, {"content-type": "application/json"} if body else {})
                answer = door.getresponse()
                answer.read()
                door.close()
                if answer.status != 200:
                    self.failed.append(f"{path}: {answer.status}")
            except OSError as error:
                self.failed.append(f"{path}: {error!r}")
            self.took.append(time.monotonic() - begun)

    def percentile(self, part: float) -> float:
        ordered = sorted(self.took)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000 if ordered else 0.0


def sockets(target: Target) -> int:
    """Sockets that the server has open. What is written and not read any more lives on in the system, and is not its business."""
    count = 0
    for link in Path(f"/proc/{target.pid}/fd").iterdir():
        try:
            count += str(link.readlink()).startswith("socket:[")
        except OSError:
            # It was closed while we looked.
            continue
    return count


# As many connections at once are those of the prober.
OWN = 3


@dataclass
class Watch:
    """Looks every quarter of a second how many slow connections the server has."""

    target: Target
    most: int = 0
    last_seen: float = 0.0

    def __post_init__(self) -> None:
        self._before = sockets(self.target)

    def until_none(self, begun: float, seconds_max: float, is_done: threading.Event) -> None:
        while time.monotonic() - begun < seconds_max:
            now_open = sockets(self.target) - self._before
            if now_open > OWN:
                self.most = max(self.most, now_open)
                self.last_seen = time.monotonic()
            elif is_done.is_set():
                return
            time.sleep(0.25)


MODES = {
    # The limit for a head is 10 s, for a body 30 s, and for reading 30 s; connections are opened over some seconds.
    "headers": (["-H", "-i", "2", "-t", "GET"], "/login", 10),
    "body": (["-B", "-i", "5", "-s", "8192", "-t", "POST", "-f", "application/json"], "/api/customers/login", 30),
    "read": (["-X", "-n", "5", "-w", "1", "-y", "32", "-z", "5", "-k", "10"], LARGE, 30),
}

# What opening the connections and looking at them takes beside the limit, on a busy machine.
LEEWAY_SECONDS = 12


def slowhttptest(mode: str, target: Target, folder: Path, connections: int) -> judge.Verdict:
    how, path, limit = MODES[mode]
    rate = max(50, connections // 3)
    prefix = folder / f"slow-{mode}"
    license_ = target.customer().license
    seconds = limit + LEEWAY_SECONDS + 10
    command = ["slowhttptest", "-c", str(connections), "-r", str(rate), "-l", str(seconds), "-u", f"{target.base}{path}",
               "-p", "20", "-g", "-o", str(prefix), "-v", "0", *how]
    watch, is_done = Watch(target), threading.Event()
    with Prober(target, license_) as prober:
        begun = time.monotonic()
        watcher = threading.Thread(target=watch.until_none, args=(begun, seconds + 20, is_done), daemon=True)
        watcher.start()
        tool = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
        try:
            # It may go on counting after the server has hung up on all; there is nothing to see then.
            while tool.poll() is None and time.monotonic() - begun < seconds + 10:
                time.sleep(0.25)
                if watch.most >= connections * 0.9 and time.monotonic() - watch.last_seen > 2:
                    break
        finally:
            if tool.poll() is None:
                tool.terminate()
            tool.wait(20)
            is_done.set()
        watcher.join(60)
    ramp = connections / rate
    run = judge.Slow(mode, max(watch.most, opened(prefix.with_suffix(".csv"))), len(prober.took), len(prober.failed), prober.percentile(0.99),
                     max(prober.took, default=0) * 1000, max(0.0, watch.last_seen - begun))
    return judge.slow(run, int(connections * 0.9), 50, P99_MS_MAX, limit + ramp + LEEWAY_SECONDS)


# The machine of a pipeline is busy; alone, requests beside slow clients take a few milliseconds.
P99_MS_MAX = 2_000


def opened(table: Path) -> int:
    """The most connections that slowhttptest says it had."""
    if not table.exists():
        return 0
    with table.open() as lines:
        rows = [row for row in csv.reader(lines) if row and row[0].strip().isdigit()]
    return max((int(row[3]) for row in rows), default=0)


def idle(target: Target, connections: int) -> judge.Verdict:
    """Very many connections on which nothing comes. As many as one address may have are held until the time for a head is over;
    the others are closed at once. Then the server has to stop in time while new ones are held."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise RuntimeError(f"{connections} connections need {wanted} open files, and {hard} are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    license_ = target.customer().license
    watch, is_done, held = Watch(target), threading.Event(), []
    with Prober(target, license_) as prober:
        begun = time.monotonic()
        watcher = threading.Thread(target=watch.until_none, args=(begun, 60, is_done), daemon=True)
        watcher.start()
        for _ in range(connections):
            held.append(socket.create_connection(("127.0.0.1", target.port), timeout=20))
        is_done.set()
        watcher.join(70)
        lasted = watch.last_seen - begun
    for each in held:
        each.close()
    run = judge.Slow("idle", len(held), len(prober.took), len(prober.failed), prober.percentile(0.99),
                     max(prober.took, default=0) * 1000, lasted)
    verdict = judge.slow(run, connections, 50, P99_MS_MAX, 10 + LEEWAY_SECONDS)
    found = list(verdict.found)
    if not 0 < watch.most <= 1_000 + OWN:
        found.append(f"idle: one address had {watch.most} connections, and 1000 are allowed")
    again = [socket.create_connection(("127.0.0.1", target.port), timeout=20) for _ in range(200)]
    again[0].sendall(b"POST /api/customers/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{")
    target.stop()
    for each in again:
        each.close()
    if target.stopped_in > 20:
        found.append(f"idle: stopping took {target.stopped_in:.1f} s beside slow clients")
    did = f"{verdict.did}; at most {watch.most} at once; stopped in {target.stopped_in:.1f} s beside 200 of them"
    return judge.Verdict(did, tuple(found))
