# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for `Catalog`: the definitions that processes publish."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from workflow.protocols import PublishedWorkflow, ScheduleInfo, StatusInfo, WorkflowInfo

from ._kit import Capability, Subject, cases_of
from ._values import MINUTE, until

case = cases_of("records")

_FULL = WorkflowInfo(
    name="orders é",
    fingerprint="f1",
    statuses=(
        StatusInfo(number=1, name="PLACED", text="placed", step=True, parallel_count=4),
        StatusInfo(number=-2, name="PAID", text="paid é", terminal=True, callbacks=2, timers=3),
    ),
    edges=((1, -2), (1, 1)),
    starting_points=(1, -2),
    connectors=("payments",),
    hooks=("on completed",),
    schedules=(ScheduleInfo(foreign_id="nightly", spec="0 3 * * *", timezone="Europe/Berlin"),),
    object_schema=b'{"type": "object"}',
    release="2.1",
)


async def _published(subject: Subject) -> Sequence[PublishedWorkflow]:
    return await subject.records.workflows()


def _names(found: Sequence[PublishedWorkflow]) -> list[tuple[str, str]]:
    return [(one.info.name, one.info.fingerprint) for one in found]


async def _publish_later(subject: Subject, info: WorkflowInfo) -> None:
    """Publish until the store's clock has moved past everything that was published before."""
    last = max((one.last_at for one in await _published(subject)), default=datetime.min.replace(tzinfo=UTC))

    async def later() -> bool:
        await subject.records.publish(info)
        found = await _published(subject)
        key = (info.name, info.fingerprint)
        return any((one.info.name, one.info.fingerprint) == key and one.last_at > last for one in found)

    await until(later)


@case("contract: catalog")
async def a_definition_is_read_back_in_every_field(subject: Subject) -> None:
    assert not await _published(subject)
    small = WorkflowInfo(name="small")
    await subject.records.publish(_FULL)
    await subject.records.publish(small)
    found = await _published(subject)
    assert [one.info for one in found] == [_FULL, small]
    for one in found:
        assert one.first_at.tzinfo is not None, one
        assert one.first_at <= one.last_at, one
        assert abs(one.first_at - datetime.now(UTC)) < MINUTE, f"the time of the store: {one.first_at}"


@case("contract: catalog")
async def a_definition_that_is_published_again_is_one_with_a_later_time(subject: Subject) -> None:
    await subject.records.publish(_FULL)
    (first,) = await _published(subject)
    await _publish_later(subject, _FULL)
    (again,) = await _published(subject)
    assert again.info == _FULL
    assert again.first_at == first.first_at
    assert again.last_at > first.last_at


@case("contract: catalog")
async def two_releases_of_a_workflow_stand_side_by_side_the_last_published_first(subject: Subject) -> None:
    old, new = [WorkflowInfo(name="orders", fingerprint=f, release=f) for f in ("old", "new")]
    await subject.records.publish(old)
    await _publish_later(subject, new)
    assert _names(await _published(subject)) == [("orders", "new"), ("orders", "old")]
    await _publish_later(subject, old)
    assert [one.info for one in await _published(subject)] == [old, new]


@case("contract: catalog")
async def definitions_come_by_name(subject: Subject) -> None:
    names = ["b", "a", "é", "B", "ab", "a b"]
    for name in names:
        await subject.records.publish(WorkflowInfo(name=name, fingerprint="same for all"))
    assert _names(await _published(subject)) == [(name, "same for all") for name in sorted(names)]


@case("contract: catalog")
async def of_processes_that_publish_at_once_each_definition_is_kept_once(subject: Subject) -> None:
    stores = [subject.records]
    if Capability.SECOND_INSTANCE not in subject.factory.lacks:
        stores.append((await subject.another()).record_store)
    infos = [WorkflowInfo(name=f"workflow {n % 3}", fingerprint=f"f{n % 2}") for n in range(24)]
    await asyncio.gather(*(stores[n % len(stores)].publish(info) for n, info in enumerate(infos)))
    for store in stores:
        found = _names(await store.workflows())
        assert sorted(found) == sorted({(info.name, info.fingerprint) for info in infos})
        assert [name for name, _ in found] == sorted(name for name, _ in found)


@case("contract: catalog", needs=[Capability.REOPENING])
async def definitions_are_there_after_reopening(subject: Subject) -> None:
    await subject.records.publish(_FULL)
    before = await _published(subject)
    await subject.reopen()
    assert list(await _published(subject)) == list(before)
