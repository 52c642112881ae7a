"""Erased data is gone from the bytes of the file and of its write-ahead log, while the file is open."""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Builder, Run, RunState, Workflow
from workflow.testing import wait_for
from workflow_adapters.sqlite import SQLiteBackend
from workflow_adapters.sqlite.schema import open_file

SECRET = "Ms Undisclosed"


def _failing(backend: SQLiteBackend) -> Workflow[Thing, Status]:
    """Its first attempt fails with the name in its error, so that the record keeps it apart from the history."""
    builder = Builder("forgetting", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        if run.attempt == 1:
            raise ValueError(f"{run.object.text[:20]} is not well")
        return Status.B

    return builder.build(backend)


def _where(path: Path) -> list[str]:
    return [one.name for one in path.parent.iterdir() if SECRET.encode() in one.read_bytes()]


@pytest.mark.parametrize("length", [10, 700, 50_000])
async def test_the_bytes_of_an_erased_run_are_gone_within_moments(length: int, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SQLiteBackend(path) as backend, _failing(backend).running() as wf:
        for number in range(30):
            name = SECRET if number % 3 == 0 else "Mr Public"
            await wf.trigger(f"key {number}", Thing(text=f"{name} " * (length // 10)))
        for number in range(0, 30, 3):
            await wf.wait_for(f"key {number}", Status.B, timeout=PATIENCE)
        assert _where(path), "otherwise this test proves nothing"
        for number in range(0, 30, 3):
            run = await wf.latest(f"key {number}")
            await wf.delete_data(run.run_id, "asked to")
        for number in range(0, 30, 3):
            await wait_for(wf, f"key {number}", lambda run: run.run_state is RunState.DATA_DELETED, timeout=PATIENCE)
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while _where(path):
                await asyncio.sleep(0.05)


async def test_a_reader_of_another_process_delays_it_and_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SQLiteBackend(path) as backend, _failing(backend).running() as wf:
        run_id = await wf.trigger("person", Thing(text=SECRET))
        await wf.wait_for("person", Status.B, timeout=PATIENCE)
        with closing(open_file(path)) as reader:
            reader.execute("begin")
            reader.execute("select count(*) from runs").fetchone()
            await wf.delete_data(run_id)
            await wait_for(wf, "person", lambda run: run.run_state is RunState.DATA_DELETED, timeout=PATIENCE)
            await wf.trigger("another")
            await wf.wait_for("another", Status.B, timeout=PATIENCE)
            await asyncio.sleep(1.5)
            assert _where(path), "the reader still sees what was there before"
            reader.execute("rollback")
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while _where(path):
                await asyncio.sleep(0.05)


async def test_what_a_killed_process_had_erased_is_gone_once_the_file_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SQLiteBackend(path):
        pass
    with closing(open_file(path)) as other:
        other.execute("create table notes (text)")
        other.execute("insert into notes values (?)", (SECRET,))
        other.execute("delete from notes")
        assert _where(path) == ["runs.db-wal"]
        async with SQLiteBackend(path), asyncio.timeout(PATIENCE.total_seconds()):
            while _where(path):
                await asyncio.sleep(0.05)
