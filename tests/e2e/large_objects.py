"""Objects of many megabytes: what no store could take is refused by name, and nothing moves too many bytes at once.

The databases run these checks, each in its own folder.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from workflow.protocols import Backend, Verdict
from workflow_adapters.conformance._values import created
from workflow_adapters.kit.sizes import AT_ONCE, LARGEST_OBJECT
from workflow_adapters.postgres.access import Access
from workflow_adapters.sqlite.database import Database

MB = 2**20


async def one_that_no_store_could_take_is_refused(backend: Backend) -> None:
    """Postgres would close the connection, and it would be sent again for ever."""
    async with asyncio.timeout(60):
        large = bytes(LARGEST_OBJECT + 1)
        batch = [created("one"), created("large", object=large), created("two")]
        outcomes = await backend.record_store.store(batch)
        assert [outcome.verdict for outcome in outcomes] == [Verdict.APPLIED, Verdict.REFUSED, Verdict.APPLIED]
        assert str(outcomes[1].error) == "object has 134,217,729 bytes, at most 134,217,728 can be stored"
        alone = await backend.record_store.store([created("large", object=large)])
        assert [outcome.verdict for outcome in alone] == [Verdict.REFUSED]
        assert set(await backend.record_store.lookup(["one", "large", "two"])) == {"one", "two"}


async def a_few_are_looked_up_at_once(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []

    def counted(real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def read(*arguments: Any) -> Any:
            found = await real(*arguments)
            if isinstance(found, tuple):  # of SQLite: the records, and how many were asked for
                reads.append(sum(len(record.object) for record in found[0].values()))
            else:
                reads.append(sum(len(row["object"]) for row in found))
            return found

        return read

    runs = [f"run {number}" for number in range(100)]
    store = backend.record_store
    for start in range(0, 100, 10):
        await store.store([created(run_id, object=bytes(MB)) for run_id in runs[start : start + 10]])
    await store.lookup(runs)  # Postgres learns how large they are
    monkeypatch.setattr(Access, "read", counted(Access.read))
    monkeypatch.setattr(Database, "read", counted(Database.read))
    found = await store.lookup([*runs, "unknown"])
    monkeypatch.undo()
    assert set(found) == set(runs)
    assert sum(reads) == 100 * MB
    assert max(reads) <= AT_ONCE + MB
