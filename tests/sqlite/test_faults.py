"""Locks, a full disk, kills in the middle of a commit, long readers: nothing acknowledged is lost, and it goes on."""

import asyncio
import logging
import random
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from tests.sqlite.process import line, run, started
from tests.sqlite.programs import moving
from workflow import RecordQuery, Unavailable
from workflow._model.query import StalledQuery
from workflow.verify import verify
from workflow_adapters.sqlite import SQLiteBackend, schema


async def tell(backend: SQLiteBackend, pragma: str) -> None:
    """Set something on the writing connection."""
    await backend._database.write(lambda c: c.execute(f"pragma {pragma}").fetchall())


async def test_writes_wait_for_a_lock_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SQLiteBackend(path) as backend:
        wf = moving(backend)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("begin immediate")
        waiting = [asyncio.ensure_future(wf.trigger(f"key {number}")) for number in range(20)]
        done, _ = await asyncio.wait(waiting, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
        assert not done
        assert await wf.list() == [], "reads do not wait"
        other.execute("rollback")
        other.close()
        assert len({await one for one in waiting}) == 20


async def test_a_lock_beyond_all_patience_makes_the_store_unavailable_and_changes_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "runs.db"
    async with SQLiteBackend(path) as backend:
        await tell(backend, "busy_timeout = 50")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("begin immediate")
        with pytest.raises(Unavailable, match="locked"):
            await backend.record_store.delete_outbox(["1"])
        with caplog.at_level(logging.WARNING):
            waiting = asyncio.ensure_future(moving(backend).trigger("key"))
            while "store unavailable" not in caplog.text:
                await asyncio.sleep(0.01)
        other.execute("rollback")
        other.close()
        assert (await moving(backend).get(await waiting)).foreign_id == "key"


async def test_a_full_file_is_told_and_what_waits_is_written_once_there_is_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with SQLiteBackend(tmp_path / "runs.db") as backend:
        wf = moving(backend)
        await wf.trigger("before")
        await tell(backend, "max_page_count = 1")  # as small as it is now
        with caplog.at_level(logging.WARNING):
            waiting = [asyncio.ensure_future(wf.trigger(f"key {n}", Thing(text="x" * 50_000))) for n in range(5)]
            while "full" not in caplog.text:
                await asyncio.sleep(0.01)
        assert [run.foreign_id for run in await wf.list()] == ["before"]
        await tell(backend, "max_page_count = 1000000")
        await asyncio.gather(*waiting)
        report = await verify(backend.record_store, wf, acknowledged={one.result(): 1 for one in waiting})
        assert not report.violations


async def test_a_file_that_may_not_grow_goes_on_once_it_may(tmp_path: Path) -> None:
    """The same as the system says it: a write in the middle of the log fails."""
    code, output, errors = await run("fill", str(tmp_path / "runs.db"))
    assert (code, output.split()) == (0, ["waits", "True", "kept", "200000"]), errors


async def test_no_kill_loses_an_acknowledged_run_or_spoils_the_file(tmp_path: Path) -> None:
    path, rng = tmp_path / "runs.db", random.Random(7)
    acknowledged: list[str] = []
    for number in range(15):
        async with started("write", str(path), str(number)) as process:
            acknowledged += [await line(process) for _ in range(rng.randint(1, 150))]
            process.kill()
            assert process.stdout is not None
            rest = (await process.stdout.read()).decode().split("\n")
            acknowledged += rest[:-1]  # the last may be cut
    connection = sqlite3.connect(path)
    assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    connection.close()
    async with SQLiteBackend(path) as backend:
        wf = moving(backend)
        report = await verify(backend.record_store, wf, acknowledged=dict.fromkeys(acknowledged, 1))
        assert not report.violations
        every = await backend.record_store.list(RecordQuery(workflow_name="moving", limit=100_000))
        async with wf.running():
            await asyncio.gather(
                *(wf.wait_for(r.foreign_id, Status.C, run_id=r.run_id, timeout=PATIENCE * 3) for r in every)
            )


async def test_the_log_shrinks_again_after_a_long_reader_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "LARGEST_WAL", 1_000_000)
    path, log = tmp_path / "runs.db", tmp_path / "runs.db-wal"
    async with SQLiteBackend(path) as backend:
        wf = moving(backend)
        await wf.trigger("first")
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("begin")
        reader.execute("select count(*) from runs").fetchone()
        for number in range(50):
            await wf.trigger(f"key {number}", Thing(text="x" * 200_000))
        assert log.stat().st_size > 10_000_000
        assert reader.execute("select count(*) from runs").fetchone() == (1,)
        reader.execute("commit")
        reader.close()
        for number in range(20):
            await wf.trigger(f"more {number}", Thing(text="x" * 200_000))
        assert log.stat().st_size < 10_000_000


async def test_an_event_that_does_not_decode_stops_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "runs.db"
    async with SQLiteBackend(path) as backend:
        wf = moving(backend)
        async with wf.running():
            connection = sqlite3.connect(path, isolation_level=None)
            topic = "insert into events (topic, partition, created, data) values ('moving-1', 3, 0, ?)"
            connection.executemany(topic, [(b"\xc1",), (b"",)])
            connection.close()
            await wf.trigger("key")
            await wf.wait_for("key", Status.C, timeout=PATIENCE)
            # From another backend there is no lane, only the stream.
            async with SQLiteBackend(path) as second:
                other = moving(second)
                run_id = await other.trigger("other")
                await wf.wait_for("other", Status.C, run_id=run_id, timeout=PATIENCE)
        assert "does not decode" in caplog.text


async def test_acknowledgements_that_failed_to_be_committed_are_written_later(tmp_path: Path) -> None:
    """A cursor that stays behind would keep the sweeper from everything newer."""
    code, output, errors = await run("acknowledge", str(tmp_path / "runs.db"))
    assert (code, output.split()) == (0, ["late", "written"]), errors


async def test_a_record_that_does_not_decode_keeps_no_other_from_its_step_and_stops_no_sweep(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "runs.db"
    async with SQLiteBackend(path) as backend:
        front = moving(backend)
        run_ids = await asyncio.gather(*(front.trigger(f"key {number}") for number in range(20)))
        with sqlite3.connect(path, isolation_level=None) as connection:
            sql = "update history set data = ? where run = (select seq from runs where run_id = ?)"
            connection.execute(sql, (b"\xc1", run_ids[7]))
        connection.close()
        query = StalledQuery(
            workflow_name="moving",
            step_statuses=(1,),
            due_before=datetime.now(UTC) + timedelta(hours=1),
            now=datetime.now(UTC),
        )
        assert len(await backend.record_store.list_stalled(query)) == 19
        wf = moving(backend)
        async with wf.running():
            others = [(f"key {number}", one) for number, one in enumerate(run_ids) if number != 7]
            await asyncio.gather(
                *(wf.wait_for(key, Status.C, run_id=run_id, timeout=PATIENCE) for key, run_id in others)
            )
    assert "could not handle a run" in caplog.text
