"""The file is restored in place, under load, to its state of some seconds before: all runs in it move again."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.going_back import declared
from tests.sqlite.process import run
from workflow.verify import verify
from workflow_adapters.conformance._values import until
from workflow_adapters.sqlite import SQLiteBackend

RUNS = 100
LOST = 4.0
"""Seconds that the restored file lacks."""
WITHIN = 60.0


async def _copy(source: Path, target: Path) -> None:
    code, _, errors = await run("copy", str(source), str(target))
    assert code == 0, errors


async def test_every_run_of_a_file_that_was_restored_in_place_moves_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two processes' backends at work."""
    path, saved = tmp_path / "runs.db", tmp_path / "saved.db"
    backends = [SQLiteBackend(path) for _ in range(2)]
    async with backends[0], backends[1]:
        workflows = [declared().build(backend) for backend in backends]
        async with workflows[0].running(), workflows[1].running():
            await asyncio.gather(*(workflows[n % 2].trigger(f"key {n}") for n in range(RUNS)))
            await asyncio.sleep(2)
            await _copy(path, saved)
            await asyncio.sleep(LOST)
            inode = path.stat().st_ino
            await _copy(saved, path)
            assert path.stat().st_ino == inode
            # Of its own, as an operator would look.
            with closing(sqlite3.connect(path, timeout=30)) as looking:
                assert looking.execute("select count(*) from runs").fetchone() == (RUNS,)

                async def finished() -> bool:
                    return bool(
                        looking.execute("select count(*) from runs where run_state in (1, 2, 3)").fetchone() == (0,)
                    )

                async with asyncio.timeout(WITHIN):
                    await until(finished)
        report = await verify(backends[0].record_store, "going back")
        assert not report.violations, report
    reported = [record for record in caplog.records if "went back in time" in record.message]
    assert 1 <= len(reported) <= 2, "each process says it once"
