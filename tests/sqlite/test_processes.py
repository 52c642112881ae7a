"""Several users of one file: processes that wake each other, backends in one process, loops, forks."""

import asyncio
import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path

import pytest

from tests.e2e.model import PATIENCE, Status
from tests.sqlite.process import line, run, started
from tests.sqlite.programs import moving, opened
from workflow_adapters.sqlite import SQLiteBackend, signals


async def test_processes_wake_each_other_without_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here and there nobody looks by himself within the hour: whatever happens was signalled."""
    monkeypatch.setattr(signals, "SAFETY_NET", 3600.0)
    path = tmp_path / "runs.db"
    async with started("work", str(path)) as process:
        assert await line(process) == "ready"
        async with SQLiteBackend(path) as backend:
            wf = moving(backend)
            loop = asyncio.get_running_loop()
            times = []
            for number in range(20):
                began = loop.time()
                run_id = await wf.trigger(f"key {number}")
                await wf.wait_for(f"key {number}", Status.C, run_id=run_id, timeout=PATIENCE)
                times.append(loop.time() - began)
            # Two steps of another process and the way back; the limit only tells signals from looks.
            assert sorted(times)[10] < 1.0
            await wf._engine.news.close()


async def test_an_idle_process_writes_nothing_but_its_heartbeats(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SQLiteBackend(path) as backend, moving(backend).running() as wf:
        run_id = await wf.trigger("key")
        await wf.wait_for("key", Status.C, run_id=run_id, timeout=PATIENCE)
        await asyncio.sleep(1)  # acknowledgements and the like
        with contextlib.closing(sqlite3.connect(path)) as watcher:
            seen = []
            for _ in range(40):
                seen.append(watcher.execute("pragma data_version").fetchone())
                await asyncio.sleep(0.1)
        assert len(set(seen)) - 1 <= 2, "a heartbeat every third of the ten seconds of a lease"


async def test_two_backends_on_one_file_in_one_process_work_together(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SQLiteBackend(path) as one, SQLiteBackend(path) as two:
        front, back = moving(one), moving(two)
        async with back.running():
            for number in range(20):
                run_id = await front.trigger(f"key {number}")
                await front.wait_for(f"key {number}", Status.C, run_id=run_id, timeout=PATIENCE)
        await front._engine.news.close()


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_backend_and_its_workflow_serve_one_loop_after_another(kind: str, tmp_path: Path) -> None:
    backend = opened("memory" if kind == "memory" else str(tmp_path / "runs.db"))
    wf = moving(backend)

    async def alone(key: str) -> None:
        async with backend, wf.running():
            run_id = await wf.trigger(key)
            await wf.wait_for(key, Status.C, run_id=run_id, timeout=PATIENCE)

    async def waiting_only(key: str) -> None:
        """The loop ends while the waiter's tail of the stream still lingers."""
        async with backend:
            run_id = await wf.trigger(key)
            with contextlib.suppress(TimeoutError):
                await wf.wait_for(key, Status.B, run_id=run_id, timeout=PATIENCE / 200)

    asyncio.run(alone("first"))
    asyncio.run(waiting_only("second"))
    asyncio.run(alone("third"))
    asyncio.run(alone("fourth"))


async def test_a_backend_that_was_opened_before_a_fork_refuses_to_work_after_it(tmp_path: Path) -> None:
    code, output, errors = await run("fork", str(tmp_path / "runs.db"))
    assert code == 0, errors
    assert output.splitlines() == [
        "refused True",
        "refused True",
        "own before",
        "child ended with 0",
        "parent 2",
    ], errors


async def test_what_serves_the_signals_is_tidied_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what a process left that was killed."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        monkeypatch.setattr(tempfile, "tempdir", directory)
        monkeypatch.setenv("TMPDIR", directory)
        path = tmp_path / "runs.db"

        def sockets() -> list[Path]:
            return list(Path(directory).glob("workflow-*/*"))

        async with started("work", str(path)) as process:
            assert await line(process) == "ready"
            process.kill()
        async with SQLiteBackend(path) as backend, SQLiteBackend(path):
            assert len(sockets()) == 3
            await moving(backend).trigger("key")
            while len(sockets()) == 3:
                await asyncio.sleep(0.01)
        assert os.listdir(directory) == []
