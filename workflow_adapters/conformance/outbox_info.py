# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for `Outbox.outbox_info`: how much waits in an outbox."""

from datetime import timedelta

from workflow.protocols import OutboxInfo

from ._kit import Subject, cases_of
from ._values import MINUTE, NOW, SECOND, WORKFLOW, created, settled

case = cases_of("outbox")


@case("contract: outbox_info")
async def an_outbox_tells_ready_events_from_delayed_ones(subject: Subject) -> None:
    assert await subject.records.outbox_info(WORKFLOW, now=NOW) == OutboxInfo()
    at_once = [created(f"run {n}", updated_at=NOW + (5 + n) * SECOND) for n in range(5)]
    delayed = [created(f"later {n}", due_at=NOW + n * MINUTE, updated_at=NOW + n * SECOND) for n in range(1, 4)]
    theirs = created("theirs", workflow_name="another workflow", updated_at=NOW - MINUTE)
    await settled(subject.records, *at_once, *delayed, theirs)
    for minutes, ready, oldest in ((0, 5, 5), (0.9, 5, 5), (1, 6, 1), (2, 7, 1), (9, 8, 1)):
        found = await subject.records.outbox_info(WORKFLOW, now=NOW + timedelta(minutes=minutes))
        wanted = OutboxInfo(ready=ready, delayed=8 - ready, oldest=NOW + oldest * SECOND)
        assert found == wanted, f"after {minutes} minutes"
    assert await subject.records.outbox_info("unknown workflow", now=NOW) == OutboxInfo()


@case("contract: outbox_info")
async def an_outbox_that_is_emptied_has_no_oldest_event(subject: Subject) -> None:
    changes = [created(f"run {n}", updated_at=NOW + n * SECOND) for n in range(4)]
    await settled(subject.records, *changes, created("later", due_at=NOW + MINUTE))
    page = await subject.records.list_outbox(WORKFLOW, now=NOW, limit=2)
    await subject.records.delete_outbox([waiting.id for waiting in page.events])
    found = await subject.records.outbox_info(WORKFLOW, now=NOW)
    assert found == OutboxInfo(ready=2, delayed=1, oldest=NOW + 2 * SECOND)
    page = await subject.records.list_outbox(WORKFLOW, now=NOW, limit=10)
    await subject.records.delete_outbox([waiting.id for waiting in page.events])
    assert await subject.records.outbox_info(WORKFLOW, now=NOW) == OutboxInfo(delayed=1)
