"""Read, build, write; again when the run was moved meanwhile."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.unit.engines import engine, first_record
from workflow._engine.compare_and_swap import compare_and_swap
from workflow._engine.core import Core
from workflow._model.change import Change, Note
from workflow._model.record import Record, VersionCause
from workflow.errors import Conflict, InvalidRunState, RecordNotFound

TRIES = 3


def repeating(core: Core, *, moved_first: int = 0) -> tuple[Callable[[Record], Awaitable[Change | None]], list[int]]:
    """Builds the next version; others move the run first, so many times. Gives the versions that it was built from."""
    built_from: list[int] = []

    async def build(record: Record) -> Change:
        built_from.append(record.version)
        if len(built_from) <= moved_first:
            by_another = core.transitions.repeated(record, b"{}", core.stamp(VersionCause.STEP))
            assert (await core.commits.apply(by_another)).ok
        return core.transitions.repeated(record, b"{}", core.stamp(VersionCause.EDIT, actor="me"))

    return build, built_from


async def test_a_change_is_written_and_the_record_returned_as_committed() -> None:
    core = engine()
    build, built_from = repeating(core)
    changed = await compare_and_swap(core, await first_record(core), build, tries=TRIES)
    assert changed == await core.find("run")
    assert changed is not None
    assert (changed.version, changed.meta.cause, changed.meta.actor) == (2, VersionCause.EDIT, "me")
    assert built_from == [1]


async def test_it_is_built_again_from_the_present_record_when_the_run_was_moved() -> None:
    core = engine()
    build, built_from = repeating(core, moved_first=2)
    changed = await compare_and_swap(core, await first_record(core), build, tries=TRIES)
    assert changed is not None
    assert (changed.version, built_from) == (4, [1, 2, 3])


async def test_a_run_that_is_moved_again_and_again_is_a_conflict_that_names_where_it_is() -> None:
    core = engine()
    build, built_from = repeating(core, moved_first=TRIES)
    with pytest.raises(Conflict) as caught:
        await compare_and_swap(core, await first_record(core), build, tries=TRIES)
    assert (caught.value.run_id, caught.value.version, caught.value.expected) == ("run", 4, None)
    assert built_from == [1, 2, 3]


async def test_a_stale_record_costs_one_try() -> None:
    core = engine()
    stale = await first_record(core)
    build, _ = repeating(core)
    await compare_and_swap(core, stale, build, tries=1)
    build, built_from = repeating(core)
    await compare_and_swap(core, stale, build, tries=2)
    assert built_from == [1, 2]


async def test_with_nothing_to_write_nothing_is_written() -> None:
    core = engine()

    async def nothing(record: Record) -> None:
        return None

    assert await compare_and_swap(core, await first_record(core), nothing, tries=TRIES) is None
    assert len(await core.records.history("run")) == 1


async def test_a_note_returns_the_record_it_was_noted_on() -> None:
    core = engine()
    record = await first_record(core)

    async def note(present: Record) -> Note:
        return Note(run_id="run", version=present.version, skipped=True)

    assert await compare_and_swap(core, record, note, tries=TRIES) is record
    present = await core.find("run")
    assert present is not None
    assert present.marks.skipped


async def test_an_error_of_the_builder_is_the_callers() -> None:
    core = engine()

    async def forbidden(record: Record) -> Change:
        return core.transitions.resumed(record, core.stamp(VersionCause.RESUME))

    with pytest.raises(InvalidRunState):
        await compare_and_swap(core, await first_record(core), forbidden, tries=TRIES)
    assert len(await core.records.history("run")) == 1


async def test_a_run_that_is_gone_is_named() -> None:
    core = engine()
    gone = replace(await first_record(core), run_id="gone")
    build, _ = repeating(core)
    with pytest.raises(RecordNotFound, match="gone"):
        await compare_and_swap(core, gone, build, tries=TRIES, patience=timedelta(seconds=10))
