"""Objects of many megabytes."""

from pathlib import Path

import pytest

from tests.e2e import large_objects
from workflow_adapters.sqlite import SQLiteBackend


async def test_an_object_that_no_store_could_take_is_refused_with_its_size(tmp_path: Path) -> None:
    async with SQLiteBackend(tmp_path / "runs.db") as backend:
        await large_objects.one_that_no_store_could_take_is_refused(backend)


async def test_records_with_large_objects_are_looked_up_a_few_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with SQLiteBackend(tmp_path / "runs.db") as backend:
        await large_objects.a_few_are_looked_up_at_once(backend, monkeypatch)
