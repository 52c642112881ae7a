"""The directory of the sockets lies where other users of the machine may write: what they put there is not trusted."""

import asyncio
import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.model import PATIENCE, Status
from tests.sqlite.programs import moving
from workflow_adapters.sqlite import SQLiteBackend
from workflow_adapters.sqlite.meeting_place import _directory


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory for temporary files; its path is short enough for a socket, and it is not that of pytest."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield Path(directory)


@pytest.fixture
def victim(shared: Path) -> Path:
    """A directory with things in it that somebody needs."""
    place = shared / "victim"
    place.mkdir(0o700)
    (place / "thesis").write_text("years of work")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        service.bind(str(place / "service"))
    return place


def _all_in(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


def _link(place: Path, victim: Path) -> None:
    place.symlink_to(victim)


def _link_to_nothing(place: Path, victim: Path) -> None:
    place.symlink_to(victim / "nothing")


def _file(place: Path, victim: Path) -> None:
    place.write_text("")


def _open_to_all(place: Path, victim: Path) -> None:
    place.mkdir()
    place.chmod(0o777)


def _readable(place: Path, victim: Path) -> None:
    place.mkdir()
    place.chmod(0o755)


def _of_another(place: Path, victim: Path) -> None:
    place.mkdir(0o700)
    if os.getuid() != 0:
        pytest.skip("only root can give a directory away")
    os.chown(place, 12345, -1)


@pytest.mark.parametrize("prepare", [_link, _link_to_nothing, _file, _open_to_all, _readable, _of_another])
async def test_a_place_that_is_not_ours_alone_is_not_used_and_work_goes_on(
    prepare: Callable[[Path, Path], None],
    shared: Path,
    victim: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "runs.db"
    place = _directory(path)
    prepare(place, victim)
    before = _all_in(shared)
    with caplog.at_level(logging.WARNING):
        async with SQLiteBackend(path) as front:
            assert sum(str(place) in record.message for record in caplog.records) == 1, "said once"
            async with SQLiteBackend(path) as back:
                wf = moving(front)
                async with moving(back).running():
                    run_id = await wf.trigger("key")
                    await wf.wait_for("key", Status.C, run_id=run_id, timeout=PATIENCE)
                    assert _all_in(shared) == before
                await wf._engine.news.close()
    assert _all_in(shared) == before
    assert (victim / "thesis").read_text() == "years of work"


async def test_only_sockets_are_removed_from_our_own_place(shared: Path, tmp_path: Path) -> None:
    """A datagram to a file is refused as one to the socket of a process that is gone."""
    path = tmp_path / "runs.db"
    async with SQLiteBackend(path) as backend:
        place = _directory(path)
        (place / "notes").write_text("kept")
        (place / "link").symlink_to(place / "notes")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
            gone.bind(str(place / "gone"))
        async with asyncio.timeout(PATIENCE.total_seconds()):
            number = 0
            while (place / "gone").exists():
                await moving(backend).trigger(f"key {number}")
                number += 1
                await asyncio.sleep(0.01)
    assert sorted(os.listdir(place)) == ["link", "notes"]


async def test_a_place_whose_name_leads_elsewhere_later_costs_nothing_there(
    shared: Path, victim: Path, tmp_path: Path
) -> None:
    """Where the directory above is not sticky, another user can rename ours."""
    path = tmp_path / "runs.db"
    async with SQLiteBackend(path) as backend:
        place = _directory(path)
        place.rename(shared / "moved")
        place.symlink_to(victim)
        for number in range(5):
            await moving(backend).trigger(f"key {number}")
            await asyncio.sleep(0.01)
    assert sorted(os.listdir(victim)) == ["service", "thesis"]
    assert os.listdir(shared / "moved") == []
