# ruff: noqa: D103, PT017 - the name of a case is its sentence; the kit knows no pytest
"""Cases for `RoleScheduler`: one holder at a time, prompt hand-over, spreading over processes, holders that die."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from workflow.protocols import Backend, Lease, RoleScheduler

from ._kit import Capability, Subject, cases_of
from ._values import abandoned, cancelled, until

case = cases_of("roles")

SECOND = Capability.SECOND_INSTANCE


async def _processes(subject: Subject, count: int) -> Sequence[Backend]:
    if SECOND in subject.factory.lacks:
        return [subject.backend] * count
    return [subject.backend, *[await subject.another() for _ in range(count - 1)]]


class _Holder:
    """A task that takes a role, notes that it has it, and keeps it until told to let go."""

    def __init__(self, roles: RoleScheduler, role: str, *, group: str = "") -> None:
        self.held = asyncio.Event()
        self.release = asyncio.Event()
        self.lease: Lease | None = None
        self.task = asyncio.ensure_future(self._hold(roles, role, group))

    async def _hold(self, roles: RoleScheduler, role: str, group: str) -> None:
        async with roles.hold(role, group=group) as self.lease:
            self.held.set()
            await self.release.wait()

    async def got(self) -> Lease:
        """Wait until it holds the role; an error of its task is raised here."""
        waiting = asyncio.ensure_future(self.held.wait())
        await asyncio.wait({waiting, self.task}, return_when=asyncio.FIRST_COMPLETED)
        await cancelled(waiting)
        if not self.held.is_set():
            await self.task
        assert self.lease is not None
        return self.lease

    async def kept_waiting(self) -> None:
        """It does not get the role for a moment. A slow machine can hide a fault here, never invent one."""
        waiting = asyncio.ensure_future(self.held.wait())
        await asyncio.wait({waiting, self.task}, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
        await cancelled(waiting)
        assert not self.held.is_set(), "got a role that somebody else holds"

    async def leave(self) -> None:
        """Release the role."""
        self.release.set()
        await self.task


@case("R-ROLESCHED-1", "R-SUITE-ROLE-2")
async def a_role_has_one_holder_at_a_time(subject: Subject) -> None:
    inside = 0
    most = 0
    turns = 0

    async def work(roles: RoleScheduler) -> None:
        nonlocal inside, most, turns
        for _ in range(3):
            async with roles.hold("role"):
                inside += 1
                most = max(most, inside)
                turns += 1
                await asyncio.sleep(0.002)
                inside -= 1

    processes = await _processes(subject, 5)
    await asyncio.gather(*(work(process.role_scheduler) for process in processes))
    assert most == 1, f"{most} held the role at once"
    assert turns == 15, "everybody had their turns"


@case("R-ROLESCHED-1")
async def a_role_is_exclusive_within_one_process_too(subject: Subject) -> None:
    first = _Holder(subject.roles, "role")
    await first.got()
    second = _Holder(subject.roles, "role")
    await second.kept_waiting()
    await first.leave()
    await second.got()
    await second.leave()


@case("design: two releases side by side")
async def shards_of_different_counts_that_share_partitions_exclude_each_other(subject: Subject) -> None:
    old, new = (process.role_scheduler for process in await _processes(subject, 2))
    for first, second in (((1, 2), (3, 4)), ((3, 4), (1, 2)), ((1, 1), (2, 3))):
        one, other = (f"{index}-of-{total}" for index, total in (first, second))
        holder = _Holder(old, f"work-{one}", group=f"group/{one}")
        await holder.got()
        waiter = _Holder(new, f"work-{other}", group=f"group/{other}")
        await waiter.kept_waiting()
        await holder.leave()
        await waiter.got()
        again = _Holder(old, f"work-{one}", group=f"group/{one}")
        await again.kept_waiting()
        await waiter.leave()
        await again.got()
        await again.leave()


@case("design: two releases side by side")
async def roles_that_only_look_like_shards_of_one_work_are_held_side_by_side(subject: Subject) -> None:
    holders = [
        _Holder(subject.roles, role, group=group)
        for role, group in (
            ("work-1-of-2", "group/1-of-2"),
            ("work-2-of-2", "group/2-of-2"),
            ("other work-1-of-4", "group/1-of-4"),
            ("report-1-of-2", ""),
            ("report-1-of-4", ""),
        )
    ]
    for holder in holders:
        await holder.got()
    for holder in holders:
        await holder.leave()


@case("R-ROLESCHED-1")
async def different_roles_are_held_side_by_side(subject: Subject) -> None:
    holders = [_Holder(subject.roles, f"role {number} é") for number in range(20)]
    for holder in holders:
        await holder.got()
    for holder in holders:
        await holder.leave()


@case("design 4.8: takeover is immediate", "R-SUITE-GAP")
async def a_role_that_is_released_is_handed_over_at_once(subject: Subject) -> None:
    processes = await _processes(subject, 2)
    turns = 10
    async with asyncio.timeout(turns * subject.factory.lease_time.total_seconds()):
        # were the next holder to wait until the lease ran out, this would take longer
        holder = _Holder(processes[0].role_scheduler, "role")
        await holder.got()
        for turn in range(1, turns + 1):
            following = _Holder(processes[turn % 2].role_scheduler, "role")
            await asyncio.sleep(0)
            await holder.leave()
            lease = await following.got()
            assert not lease.unclean, "the holder before released it"
            holder = following
        await holder.leave()


@case("R-ROLESCHED-1")
async def a_role_is_released_when_its_holder_fails(subject: Subject) -> None:
    for error in (ValueError("the holder's own"), asyncio.CancelledError()):
        try:
            async with subject.roles.hold("role"):
                raise error
        except (ValueError, asyncio.CancelledError) as seen:
            assert seen is error, "the holder's error passes as it is"
        async with subject.roles.hold("role") as lease:
            assert not lease.unclean


@case("R-ROLESCHED-1", "R-SUITE-ROLE-3", "W-35")
async def waiting_for_a_role_can_be_cancelled_and_leaves_no_trace(subject: Subject) -> None:
    processes = await _processes(subject, 2)
    for turn in range(6):
        first = _Holder(processes[0].role_scheduler, "role")
        await first.got()
        doomed = _Holder(processes[turn % 2].role_scheduler, "role")
        for _ in range(turn):
            await asyncio.sleep(0)
        await cancelled(doomed.task)
        assert not doomed.held.is_set()
        await first.leave()
        third = _Holder(processes[1].role_scheduler, "role")
        await third.got()
        await third.leave()


@case("R-SUITE-ROLE-3")
async def a_waiter_cancelled_as_the_role_is_handed_to_it_does_not_keep_it(subject: Subject) -> None:
    for turn in range(10):
        first = _Holder(subject.roles, "role")
        await first.got()
        doomed = _Holder(subject.roles, "role")
        await asyncio.sleep(0)
        first.release.set()
        for _ in range(turn):
            await asyncio.sleep(0)
        await cancelled(doomed.task)
        await first.task
        async with subject.roles.hold("role"):
            pass


@case("design 4.8: fencing token")
async def the_token_rises_with_each_takeover(subject: Subject) -> None:
    processes = await _processes(subject, 2)
    tokens: list[int] = []
    for turn in range(6):
        holder = _Holder(processes[turn % 2].role_scheduler, "role")
        tokens.append((await holder.got()).token)
        await holder.leave()
    assert tokens == sorted(set(tokens)), tokens


@case("R-SUITE-ROLE-1")
async def a_role_never_held_before_is_clean_and_not_lost(subject: Subject) -> None:
    async with subject.roles.hold("role") as lease:
        assert not lease.unclean
        assert not lease.lost.is_set()
    async with subject.roles.hold("grouped", group="group") as lease:
        assert not lease.unclean


@case("design 4.8: heartbeat")
async def a_holder_keeps_its_role_for_longer_than_the_lease(subject: Subject) -> None:
    processes = await _processes(subject, 2)
    holder = _Holder(processes[0].role_scheduler, "role")
    lease = await holder.got()
    rival = _Holder(processes[1].role_scheduler, "role")
    # the passing of time is what is examined here
    await asyncio.sleep(1.5 * subject.factory.lease_time.total_seconds())
    assert not rival.held.is_set(), "taken over although its holder lives"
    assert not lease.lost.is_set(), "lost although nobody should have it"
    await holder.leave()
    await rival.got()
    await rival.leave()


@case("design 4.8: takeover", "design 4.5: unclean", needs=[Capability.CRASHING, SECOND])
async def the_role_of_a_holder_that_died_is_taken_over_within_the_lease_time(subject: Subject) -> None:
    doomed = await subject.another()
    holder = _Holder(doomed.role_scheduler, "role")
    token = (await holder.got()).token
    waiting = _Holder(subject.roles, "role")
    await waiting.kept_waiting()
    await subject.crash(doomed)
    # a lease, a heartbeat to notice, and the slack of a busy machine
    async with asyncio.timeout(5 + 3 * subject.factory.lease_time.total_seconds()):
        lease = await waiting.got()
    assert lease.unclean, "the holder before may have crashed"
    assert lease.token > token
    await abandoned(holder.task)
    assert not lease.lost.is_set(), "what the dead leave behind takes nothing away"
    await waiting.leave()
    async with subject.roles.hold("role") as after:
        assert not after.unclean, "released properly since"


async def _serve(process: str, roles: RoleScheduler, role: str, group: str, held: dict[str, str]) -> None:
    """Hold the role whenever this process is given it, and give it up when asked to."""
    while True:
        async with roles.hold(role, group=group) as lease:
            assert role not in held, f"{role} is held by {held[role]} and {process} at once"
            held[role] = process
            try:
                await lease.lost.wait()
            finally:
                del held[role]


class _Fleet:
    """Processes that all declare the same roles, two in each group."""

    def __init__(self, groups: int) -> None:
        self.groups = groups
        self.held: dict[str, str] = {}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}

    def join(self, process: str, backend: Backend) -> None:
        declared = [(f"{part} {group}", f"group {group}") for group in range(self.groups) for part in ("step", "hook")]
        self._tasks[process] = [
            asyncio.ensure_future(_serve(process, backend.role_scheduler, role, group, self.held))
            for role, group in declared
        ]

    async def quit(self, *processes: str) -> None:
        for process in processes or tuple(self._tasks):
            await abandoned(*self._tasks.pop(process, ()))

    def failed(self) -> BaseException | None:
        done = [task for tasks in self._tasks.values() for task in tasks if task.done()]
        return done[0].exception() if done else None

    async def settled(self, *counts: int) -> None:
        """Wait until every role is held, no group is split, and the processes hold so many groups each."""

        async def so() -> bool:
            if error := self.failed():
                raise error
            if len(self.held) < 2 * self.groups:
                return False
            if any(self.held[f"step {group}"] != self.held[f"hook {group}"] for group in range(self.groups)):
                return False
            spread = Counter(self.held[f"step {group}"] for group in range(self.groups))
            return sorted(spread.values()) == sorted(counts)

        await until(so)


@case("design 4.8: groups")
async def one_process_alone_is_given_every_role(subject: Subject) -> None:
    fleet = _Fleet(4)
    try:
        fleet.join("a", subject.backend)
        await fleet.settled(4)
    finally:
        await fleet.quit()


@case("design 4.8: groups are spread evenly", needs=[SECOND, Capability.SPREADING])
async def groups_stay_whole_and_are_spread_over_the_processes(subject: Subject) -> None:
    fleet = _Fleet(4)
    other = await subject.another()
    try:
        fleet.join("a", subject.backend)
        fleet.join("b", other)
        await fleet.settled(2, 2)
    finally:
        await fleet.quit()


@case("design 4.8: a new member", needs=[SECOND, Capability.SPREADING])
async def a_process_that_joins_later_is_given_its_share(subject: Subject) -> None:
    fleet = _Fleet(4)
    other = await subject.another()
    try:
        fleet.join("a", subject.backend)
        await fleet.settled(4)
        fleet.join("b", other)
        await fleet.settled(2, 2)
    finally:
        await fleet.quit()


@case("design 4.8: stop", needs=[SECOND, Capability.SPREADING])
async def what_a_leaving_process_held_goes_to_those_that_stay(subject: Subject) -> None:
    fleet = _Fleet(4)
    other = await subject.another()
    try:
        fleet.join("a", subject.backend)
        fleet.join("b", other)
        await fleet.settled(2, 2)
        await fleet.quit("b")
        await fleet.settled(4)
    finally:
        await fleet.quit()


@case("design 4.8: takeover", needs=[SECOND, Capability.SPREADING, Capability.CRASHING])
async def what_a_dead_process_held_goes_to_those_that_live(subject: Subject) -> None:
    fleet = _Fleet(4)
    doomed = await subject.another()
    try:
        fleet.join("a", subject.backend)
        fleet.join("b", doomed)
        await fleet.settled(2, 2)
        await subject.crash(doomed)
        await fleet.quit("b")
        await fleet.settled(4)
    finally:
        await fleet.quit()
