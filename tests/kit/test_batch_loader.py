"""Questions that are asked at the same time are answered together, and none is left lying."""

import asyncio
from collections.abc import Mapping, Sequence

from workflow_adapters.kit.batch_loader import BatchLoader


async def test_a_question_that_comes_in_the_turn_in_which_both_flights_end_is_answered() -> None:
    """Nobody else asks anything afterwards that would take it along."""
    replies: list[asyncio.Future[None]] = []

    async def read(keys: Sequence[str]) -> Mapping[str, str]:
        reply = asyncio.get_running_loop().create_future()
        replies.append(reply)
        await reply
        return {key: key.upper() for key in keys}

    gathered = BatchLoader(read)

    async def ask(*keys: str) -> list[str | None]:
        return [await gathered.get(key) for key in keys]

    first = asyncio.ensure_future(ask("a", "c"))
    while len(replies) < 1:
        await asyncio.sleep(0)
    second = asyncio.ensure_future(ask("b"))
    while len(replies) < 2:
        await asyncio.sleep(0)
    for reply in replies:
        reply.set_result(None)
    async with asyncio.timeout(5):
        while len(replies) < 3:
            await asyncio.sleep(0)
        replies[2].set_result(None)
        assert await first == ["A", "C"]
        assert await second == ["B"]
