"""The file is deleted, moved or replaced while a process has it open: nothing is acknowledged that nobody will find."""

import asyncio
import logging
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e.model import PATIENCE, Status
from tests.sqlite.programs import moving
from workflow import OutcomeUnknown, Unavailable
from workflow._verbs import trigger
from workflow_adapters.sqlite import SQLiteBackend
from workflow_adapters.sqlite.schema import UnusableFile


def _delete(path: Path) -> None:
    path.unlink()


def _delete_with_its_log(path: Path) -> None:
    for one in path.parent.glob(f"{path.name}*"):
        one.unlink()


def _delete_its_log(path: Path) -> None:
    """As people do who take it for a leftover: a new process would not find what is only in there."""
    Path(f"{path}-wal").unlink()


def _delete_the_index_of_its_log(path: Path) -> None:
    """The next process would make another, and the two would not see each other's locks."""
    Path(f"{path}-shm").unlink()


def _replace(path: Path) -> None:
    shutil.copy(path, f"{path}.copy")
    os.rename(f"{path}.copy", path)


def _move_its_directory(path: Path) -> None:
    path.parent.rename(path.parent.parent / "elsewhere")


WAYS = [
    *(_delete, _delete_with_its_log, _delete_its_log, _delete_the_index_of_its_log),
    *(_replace, _move_its_directory),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place" / "runs.db"


@pytest.mark.parametrize("lose", WAYS)
async def test_nothing_is_acknowledged_into_a_file_without_a_name(
    lose: Callable[[Path], None], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trigger, "VERB_DEADLINE", timedelta(seconds=0.5))
    async with SQLiteBackend(path) as backend:
        wf = moving(backend)
        await wf.trigger("before")
        lose(path)
        # It was sent before the loss was noticed, and may be found if the file is put back.
        with pytest.raises(OutcomeUnknown, match=r"runs\.db.* while it was open"):
            await wf.trigger("after")
        with pytest.raises(Unavailable, match=r"runs\.db.* while it was open"):
            await wf.trigger("later")
        with pytest.raises(Unavailable, match=r"runs\.db.* while it was open"):
            await wf.list()


async def test_a_process_that_only_reads_notices_too(path: Path) -> None:
    async with SQLiteBackend(path) as backend:
        wf = moving(backend)
        _delete(path)
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while not backend._database._file.lost:
                await asyncio.sleep(0.05)
        with pytest.raises(Unavailable, match="deleted or moved"):
            await wf.list()


async def test_work_goes_on_when_the_file_is_back_and_what_waited_is_written(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with SQLiteBackend(path) as backend, moving(backend).running() as wf:
        await wf.trigger("before")
        _move_its_directory(path)
        waiting = [asyncio.ensure_future(wf.trigger(f"key {number}")) for number in range(20)]
        with caplog.at_level(logging.WARNING):
            while "store unavailable" not in caplog.text:
                await asyncio.sleep(0.01)
        assert not any(one.done() for one in waiting)
        (path.parent.parent / "elsewhere").rename(path.parent)
        for number, one in enumerate(waiting):
            run_id = await one
            await wf.wait_for(f"key {number}", Status.C, run_id=run_id, timeout=PATIENCE)
    ours = [record.message for record in caplog.records if record.name == "workflow.sqlite"]
    assert sum("nothing is read or written" in message for message in ours) == 1
    assert sum("used again" in message for message in ours) == 1


async def test_another_file_in_its_place_is_used_by_who_enters_anew(path: Path) -> None:
    async with SQLiteBackend(path) as backend:
        await moving(backend).trigger("before")
        for one in path.parent.glob("runs.db*"):
            one.unlink()
        async with SQLiteBackend(path) as other:
            await moving(other).trigger("new")
            for error in (OutcomeUnknown, Unavailable):
                with pytest.raises(error, match="replaced"):
                    await backend.record_store.delete_outbox(["1"])
    # The process that had lost the file has left what is there now alone.
    async with backend:
        assert [run.foreign_id for run in await moving(backend).list()] == ["new"]


async def test_a_link_that_leads_elsewhere_is_noticed(path: Path) -> None:
    link = path.parent / "link.db"
    os.symlink(path, link)
    async with SQLiteBackend(link) as backend:
        await moving(backend).trigger("before")
        async with SQLiteBackend(path.parent / "other.db"):
            os.symlink(path.parent / "other.db", path.parent / "new")
            os.rename(path.parent / "new", link)
            with pytest.raises((OutcomeUnknown, Unavailable), match=r"link\.db.*replaced"):
                await backend.record_store.delete_outbox(["1"])


async def test_a_missing_directory_is_still_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableFile, match="unable to open"):
        async with SQLiteBackend(tmp_path / "missing" / "runs.db"):
            pass
