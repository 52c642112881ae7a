"""Objects of many megabytes."""

import pytest

from tests.e2e import large_objects
from tests.postgres.database import Database


async def test_an_object_that_no_store_could_take_is_refused_with_its_size(database: Database) -> None:
    """The server would close the connection, and it would be sent again for ever."""
    async with database.backend() as backend:
        await large_objects.one_that_no_store_could_take_is_refused(backend)


async def test_records_with_large_objects_are_looked_up_a_few_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.backend() as backend:
        await large_objects.a_few_are_looked_up_at_once(backend, monkeypatch)
