"""A mail server that is down, puts off, talks slowly, drops what it took, refuses for good, or is none at all."""

from __future__ import annotations

import asyncio

from client import send, until
from load import Load, User
from processes import BINARY, run
from smtp import Mood
from world import World

BAD: tuple[Mood, ...] = ("down", "greylist", "full", "slow", "drop_after_data", "garbage")
MOOD_SECONDS = 2.5


async def mail(world: World, count: int) -> str:
    """Each bad mood in turn under load: nobody waits for a mail, none is lost. A refusal for good is shown and can be mended."""
    load = Load(world, 2)
    for mood in BAD:
        world.mail.moods = [mood]
        await asyncio.sleep(MOOD_SECONDS)
    world.mail.moods = ["well"]
    await load.stop()
    met = {mood: world.mail.counts.get(mood, 0) for mood in BAD}
    assert sum(count > 0 for count in met.values()) >= len(BAD) - 1, f"the bad moods were hardly met: {met}"
    return f"conversations {met}; {await _refused_for_good(world)}"


async def _refused_for_good(world: World) -> str:
    """550: the mail counts as given up, the license is there all the same, and an operator sends it again."""
    world.mail.moods = ["reject"]
    user = User(world, 10_000)
    assert await user.sign_up(), "nobody can sign up while the mail server refuses a recipient"

    async def buried() -> list[list[str]]:
        return await world.rows(
            f"select effect_id, failure from outbox where state = 'dead' and customer_id = '{user.customer_id}'"
        )

    rows = await until("the refused mail is given up", buried, 20, 0.2)
    assert all(failure == "permanent" for _, failure in rows), f"{rows}"
    shown = await send("GET", world.door() + "/api/licenses/current", token=user.token)
    assert shown.status == 200, f"the license of a customer without mail was answered {shown.status}"
    world.mail.moods = ["well"]
    # Those who signed up or bought in the same moment were refused too; an operator sends all of it again.
    everything = [row[0] for row in await world.rows("select effect_id from outbox where state = 'dead'")]
    for effect in everything:
        code, said = await run([str(BINARY), "job", "retry", effect, "--reason", "the mailbox is back"], world.env)
        assert code == 0, f"job retry ended with {code}: {said[-500:]}"
    return f"{len(everything)} mails refused with 550 were given up and sent again by an operator"
