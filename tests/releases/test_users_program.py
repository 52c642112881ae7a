"""A deploy of a user's program: two of its releases work side by side, under load, whichever came first."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.releases.node import ROOT, node
from tests.releases.stores import STORES, Store
from workflow import RunState
from workflow.protocols import Backend, RecordQuery, Version
from workflow.verify import verify

RUNS = 25
WORKFLOWS = (
    *("status added", "status removed", "status renamed", "field added", "step added"),
    *("more shards", "fewer shards"),
)
ALONE = {"old": {"status added", "step added"}, "new": {"status removed"}}
"""What a release cannot bring to its end without the other."""


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("order", [("old", "new"), ("new", "old")], ids=" then ".join)
async def test_two_releases_of_a_program_work_side_by_side(kind: str, order: tuple[str, str], tmp_path: Path) -> None:
    async with Store.of(kind, tmp_path) as store:
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(node(order[0], ROOT, store.url, "shop.py"))
            await first.do("run")
            # The second comes, both work, and the first leaves, all under load.
            load = asyncio.ensure_future(first.do("trigger", prefix="as the second comes", count=RUNS))
            second = await stack.enter_async_context(node(order[1], ROOT, store.url, "shop.py"))
            await second.do("run")
            await load
            while not await second.do("at_home"):
                await asyncio.sleep(0.05)
            nodes = dict(zip(order, (first, second), strict=True))
            await asyncio.gather(*(one.do("trigger", prefix=f"of {name}", count=RUNS) for name, one in nodes.items()))
            for prefix in ("as the second comes", "of old", "of new"):
                # The old release waits for runs that only the new one can bring to their end, and the other way round.
                finish = [one.do("finish", prefix=prefix, count=RUNS, names=WORKFLOWS) for one in nodes.values()]
                await asyncio.gather(*finish)
            load = asyncio.ensure_future(second.do("trigger", prefix="as the first leaves", count=RUNS))
            await first.do("stop")
            await load
            names = [name for name in WORKFLOWS if name not in ALONE[order[1]]]
            await second.do("finish", prefix="as the first leaves", count=RUNS, names=names)
            called = [*await first.do("called"), *await second.do("called")]
        async with store.backend() as backend:
            await _looked_at(backend, called)


async def _looked_at(backend: Backend, called: list[list[str]]) -> None:
    twice = {key: count for key, count in Counter(map(tuple, called)).items() if count > 1}
    assert not twice, "each step was handled once"
    for name in WORKFLOWS:
        report = await verify(backend.record_store, name)
        assert report.ok, str(report)
        assert report.runs == 4 * RUNS
        async for version in _versions(backend, name):
            assert version.run_state is not RunState.PAUSED, f"{name}: {version.last_error}"
            if name == "field added" and version.foreign_id.startswith("of new"):
                assert b'"note":"kept"' in version.object, version
                assert b'"price":7' in version.object, version


async def _versions(backend: Backend, name: str) -> AsyncIterator[Version]:
    cursor: Any = None
    while True:
        page = await backend.record_store.list(RecordQuery(workflow_name=name, cursor=cursor))
        for record in page:
            for version in await backend.record_store.history(record.run_id):
                yield version
        if (cursor := page.next) is None:
            return
