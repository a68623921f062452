"""Starts that have to be refused: the server ends by itself, in order, and says why."""

from __future__ import annotations

from pathlib import Path

from processes import Server
from world import World

START_SECONDS = 30.0


def demand_refusal(name: str, code: int, said: str, words: tuple[str, ...]) -> None:
    """Exit code 1 or 2, no panic, and one of the words in what is told to people, which is not the log: that is lines of JSON."""
    assert code in (1, 2), f"{name}: exit code {code}: {said[-500:]}"
    assert "panicked" not in said, f"{name}: {said[-500:]}"
    told = "\n".join(line for line in said.lower().splitlines() if not line.startswith("{"))
    assert any(word in told for word in words), f"{name}: it did not say why: {said[-500:]}"


async def refuses(world: World, name: str, data: Path, words: tuple[str, ...], **env: str) -> str:
    """Starts a server that has to end by itself and say why."""
    server = Server(name, {**world.env, "COUNTERFOIL_DATA_DIR": str(data), **env}, world.folder)
    server.start()
    try:
        code = await server.wait(START_SECONDS)
    except TimeoutError as error:
        await server.kill()
        raise AssertionError(f"{name}: it started although it must not") from error
    demand_refusal(name, code, server.said(), words)
    return name
