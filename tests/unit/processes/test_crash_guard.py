"""Crashes count: the start of an attempt is noted while crashes are suspected, and a note that is left means one."""

import asyncio

import pytest
from msgspec.structs import replace

from tests.unit.engines import engine, first_record
from workflow._engine.engine import Engine
from workflow._model.record import Marks, Record
from workflow._processes.crash_guard import SUSPICION, CrashGuard
from workflow._processes.lease_term import LeaseTerm
from workflow_adapters.memory import MemoryLease


def guard(of: Engine, *, unclean: bool, token: int = 1, held_for: float = 0.0) -> CrashGuard:
    term = LeaseTerm(MemoryLease(token, unclean), 1.0)
    term.began -= held_for
    return CrashGuard(of, term)


async def claimed_by(of: Engine) -> str:
    record = await of.find("run")
    assert record is not None
    return record.marks.claimed_by


@pytest.mark.parametrize(("unclean", "held_for"), [(False, 0.0), (True, SUSPICION + 1)], ids=["clean", "long ago"])
async def test_without_suspicion_nothing_is_noted(unclean: bool, held_for: float) -> None:
    assert not guard(engine(), unclean=unclean, held_for=held_for).suspects


async def test_after_an_unclean_takeover_the_start_is_noted_before_the_handler_runs() -> None:
    of = engine()
    during: list[str] = []

    async def attempt(record: Record) -> None:
        during.append(await claimed_by(of))

    suspicious = guard(of, unclean=True)
    assert suspicious.suspects
    await suspicious.attempt(await first_record(of), attempt)
    assert during == [f"{of.ids.process_id}-1"]
    record = await of.find("run")
    assert record is not None
    assert not suspicious.crashed(record), "its own note is no crash"
    assert guard(of, unclean=False, token=2).crashed(record), "that of an earlier holder is one"
    assert guard(engine(), unclean=False).crashed(record), "and that of another process"
    assert not suspicious.crashed(replace(record, marks=Marks()))


async def test_a_run_that_moved_meanwhile_is_not_handled() -> None:
    of = engine()
    stale = replace(await first_record(of), version=7)

    async def attempt(record: Record) -> None:
        raise AssertionError("handled")

    await guard(of, unclean=True).attempt(stale, attempt)
    assert await claimed_by(of) == ""


async def test_being_asked_to_stop_is_no_crash() -> None:
    of = engine()
    begun = asyncio.Event()

    async def attempt(record: Record) -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(guard(of, unclean=True).attempt(await first_record(of), attempt))
    await begun.wait()
    assert await claimed_by(of)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await claimed_by(of) == ""


async def test_an_error_of_the_attempt_leaves_the_note_to_the_next_version() -> None:
    of = engine()

    async def attempt(record: Record) -> None:
        raise RuntimeError("the store went away")

    with pytest.raises(RuntimeError):
        await guard(of, unclean=True).attempt(await first_record(of), attempt)
    assert await claimed_by(of)
