"""SQLite: full disks, broken files, second processes, and settings that must not be started with."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from pathlib import Path

import order
from client import Answer, send, until
from load import Load, User, deliver, plain_event
from processes import BINARY, run
from refusals import refuses
from world import World


async def bad_starts(world: World, count: int) -> str:
    """Each of these starts is refused with a message, and nothing is made fresh."""
    user = User(world, 0)
    assert await user.sign_up()
    done = [await refuses(world, "second-process", world.data, ("another", "in use", "locked"))]
    for name, secret in (("secret-empty", ""), ("secret-blank", "  \t")):
        done.append(await refuses(world, name, world.folder / name, ("webhook",), STRIPE_WEBHOOK_SECRET=secret))
    await world.servers[0].kill()
    for name in ("truncated", "flipped-head", "flipped-page", "newer"):
        data = world.folder / name
        shutil.copytree(world.data, data)
        file = data / "counterfoil.db"
        _settle(file)
        before = file.stat().st_size
        _spoil(name, file, before)
        kept = file.read_bytes()
        done.append(await refuses(world, name + "-start", data, ("database", "corrupt", "malformed", "newer", "not a")))
        assert file.read_bytes()[:4096] == kept[:4096], f"{name}: the file was changed"
    world.servers[0].start()
    await world.servers[0].ready()
    return "refused: " + ", ".join(done)


def _settle(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()


def _spoil(name: str, file: Path, size: int) -> None:
    data = bytearray(file.read_bytes())
    if name == "truncated":
        data = data[: size // 2]
    elif name == "flipped-head":
        data[5] ^= 0xFF
    elif name == "flipped-page":
        for place in range(4096, min(size, 4096 * 40), 512):
            data[place] ^= 0x55
    elif name == "newer":
        with sqlite3.connect(file) as connection:
            table = "_sqlx_migrations"
            columns = [row[1] for row in connection.execute(f"pragma table_info({table})")]
            first = connection.execute(f"select * from {table} limit 1").fetchone()
            row = [9999 if column in ("version", "id", "number") else value for column, value in zip(columns, first, strict=True)]
            connection.execute(f"insert into {table} values ({', '.join('?' * len(row))})", row)
        connection.close()
        return
    file.write_bytes(data)


async def disk_full(world: World, count: int) -> str:
    """A tmpfs of few megabytes fills up: what was acknowledged is stored, reading goes on, and writing too once there is space."""
    user = User(world, 0)
    assert await user.sign_up()
    filler = world.data / "filler"
    stat = os.statvfs(world.data)
    filler.write_bytes(b"\0" * max(0, stat.f_bavail * stat.f_frsize - 60_000))
    statuses: dict[int, int] = {}
    for number in range(60):
        for answer in await deliver(world, plain_event(f"evt_full{number:08d}", pad="x" * 4000)):
            key = answer.status if isinstance(answer, Answer) else 0
            statuses[key] = statuses.get(key, 0) + 1
    read = await send("GET", world.door() + "/api/licenses/current", token=user.token)
    assert read.status == 200, f"reading answered {read.status} on a full disk"
    assert 503 in statuses, f"the disk was never full: {statuses}"
    assert set(statuses) <= {0, 200, 503}, f"a full disk is no mistake of ours: {statuses}"
    filler.unlink()
    load = Load(world, 2)
    await asyncio.sleep(3)
    await load.stop()
    assert await world.rows("pragma integrity_check") == [["ok"]]
    return f"60 webhooks answered {statuses}, reading went on"


async def sync_order(world: World, count: int) -> str:
    """strace: between the write to the log and `HTTP/1.1 200` there is a sync of the log that came back."""
    trace = world.folder / "trace.txt"
    server = world.servers[0]
    await server.kill()
    names = "trace=pwrite64,pwritev,write,writev,sendto,sendmsg,fdatasync,fsync"
    server.command = ["strace", "-f", "-y", "-s", "64", "-o", str(trace), "-e", names, str(BINARY), "serve"]
    server.start()
    await server.ready()
    done = 0
    for number in range(10):
        # The outcome of one is seen before the next one begins, and workers have to be at rest: they write to the same log.
        await until("nothing is owed", world.is_settled, 60, 0.2)
        begun = trace.stat().st_size
        if number % 2 == 0:
            answers = await deliver(world, plain_event(f"evt_order{number:08d}"))
            assert answers[0] is not None and answers[0].status == 200
        else:
            user = User(world, number)
            assert await user.sign_up()
        await asyncio.sleep(0.3)
        seen = order.read(_until_answer(trace.read_text(errors="replace")[begun:]))
        assert seen.answers == 1 and not seen.wrong and seen.syncs >= 1, f"{seen}"
        done += 1
    # strace forwards nothing on SIGKILL, so the server is asked to stop.
    code, _ = await run(["pkill", "-TERM", "-P", str(server.pid)])
    assert code == 0
    await server.wait(25)
    server.command = [str(BINARY), "serve"]
    server.start()
    await server.ready()
    return f"{done} of {done} answers came after a sync of the write-ahead log"


def _until_answer(text: str) -> str:
    """Workers go on after the answer; the order is judged up to it."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if order.ANSWER.search(line):
            return "\n".join(lines[: number + 1])
    return text


async def burst(world: World, count: int) -> str:
    """A burst of webhooks, 64 at a time: none is lost that was acknowledged, and all are answered."""
    total, gate, statuses = (10_000 if count >= 1000 else 2_000), asyncio.Semaphore(64), {}

    async def one(number: int) -> None:
        async with gate:
            for answer in await deliver(world, plain_event(f"evt_burst{number:08d}"), timeout=60):
                key = answer.status if answer is not None else 0
                statuses[key] = statuses.get(key, 0) + 1

    await asyncio.gather(*(one(number) for number in range(total)))
    stored = int((await world.rows("select count(*) from webhook_inbox where event_id like 'evt_burst%'"))[0][0])
    assert stored >= statuses.get(200, 0), f"{statuses} and only {stored} stored"
    assert statuses == {200: total}, f"answered {statuses}"
    return f"{total} webhooks, {stored} stored"
