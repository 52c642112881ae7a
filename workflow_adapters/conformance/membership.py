# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for the questions to a `RoleScheduler`: which processes live, and which of them holds which role."""

import asyncio
from collections.abc import Awaitable, Callable

from workflow.protocols import Backend, Holding, Lease, Member

from ._kit import Capability, Subject, cases_of
from ._values import abandoned, cancelled, until

case = cases_of("roles")

APART = [Capability.SECOND_INSTANCE, Capability.SPREADING]
"""Two instances are two members: not so where one process may hold every role."""


class _Process:
    """Tasks that hold or wait for roles of one instance, until they are told to end."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._tasks: list[asyncio.Task[None]] = []

    async def take(self, role: str) -> Lease:
        """Hold this role until the end; returns once it is held."""
        leases: list[Lease] = []
        got = asyncio.Event()

        async def hold() -> None:
            async with self.backend.role_scheduler.hold(role) as lease:
                leases.append(lease)
                got.set()
                await asyncio.Event().wait()

        task = self._start(hold())
        waiting = asyncio.ensure_future(got.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        await cancelled(waiting)
        if not leases:
            await task
        return leases[0]

    def want(self, role: str) -> None:
        """Wait for this role, and hold it until the end."""

        async def hold() -> None:
            async with self.backend.role_scheduler.hold(role):
                await asyncio.Event().wait()

        self._start(hold())

    def _start(self, work: "Awaitable[None]") -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.append(task)
        return task

    async def end(self) -> None:
        """Release everything."""
        await abandoned(*self._tasks)


async def _member(backend: Backend, condition: Callable[[Member], bool]) -> Member:
    """The first member of which this is true, once there is one."""
    found: list[Member] = []

    async def there() -> bool:
        found[:] = [member for member in await backend.role_scheduler.members() if condition(member)]
        return bool(found)

    await until(there)
    return found[0]


async def _holding(backend: Backend, role: str) -> Holding | None:
    found = [holding for holding in await backend.role_scheduler.holdings() if holding.role == role]
    assert len(found) <= 1, f"{role} is listed twice: {found}"
    return found[0] if found else None


@case("contract: members")
async def a_process_that_holds_a_role_is_a_member_and_describes_itself(subject: Subject) -> None:
    process = _Process(subject.backend)
    try:
        await process.take("held é")
        member = await _member(subject.backend, lambda member: "held é" in member.wanted)
        identity = member.identity
        assert identity.id
        assert identity.host, "the name of its machine"
        assert identity.pid > 0, "its process ID"
        assert identity.started_at is not None, "when its backend was entered"
        assert identity.started_at.tzinfo is not None
        assert member.renewed_at.tzinfo is not None
        assert member.renewed_at < member.expires_at, member
    finally:
        await process.end()


@case("contract: members")
async def a_member_wants_the_roles_it_holds_and_those_it_waits_for(subject: Subject) -> None:
    holder, waiter = _Process(subject.backend), _Process(subject.backend)
    try:
        await holder.take("a")
        await holder.take("b")
        waiter.want("a")
        await _member(subject.backend, lambda member: {"a", "b"} <= set(member.wanted))
        await holder.end()
        member = await _member(subject.backend, lambda member: "a" in member.wanted and "b" not in member.wanted)
        assert len(set(member.wanted)) == len(member.wanted), f"each role once: {member.wanted}"
        await waiter.end()

        async def nothing_wanted() -> bool:
            return not any(member.wanted for member in await subject.roles.members())

        await until(nothing_wanted)
    finally:
        await holder.end()
        await waiter.end()


@case("contract: members", "design 4.8: heartbeat")
async def a_member_that_lives_is_renewed(subject: Subject) -> None:
    process = _Process(subject.backend)
    try:
        await process.take("role")
        first = await _member(subject.backend, lambda member: "role" in member.wanted)
        later = await _member(subject.backend, lambda member: member.renewed_at > first.renewed_at)
        assert later.identity == first.identity
        assert later.expires_at > first.expires_at
    finally:
        await process.end()


@case("contract: members", needs=APART)
async def each_process_is_a_member_of_its_own_known_to_all(subject: Subject) -> None:
    others = [_Process(await subject.another()) for _ in range(2)]
    processes = [_Process(subject.backend), *others]
    try:
        for number, process in enumerate(processes):
            await process.take(f"role {number}")
        processes[1].want("role 0")
        for process in processes:
            await _member(process.backend, lambda member: set(member.wanted) == {"role 1", "role 0"})
            members = await process.backend.role_scheduler.members()
            ids = [member.identity.id for member in members]
            assert len(set(ids)) == 3, members
            assert ids == sorted(ids), "by id"
    finally:
        for process in processes:
            await process.end()


@case("contract: members", "design 4.8: stop", needs=APART)
async def a_process_that_left_is_no_member(subject: Subject) -> None:
    leaving, staying = _Process(await subject.another()), _Process(subject.backend)
    try:
        await leaving.take("a")
        await staying.take("b")
        member = await _member(subject.backend, lambda member: "a" in member.wanted)
        await leaving.end()
        await subject.shut(leaving.backend)

        async def gone() -> bool:
            members = await subject.roles.members()
            return member.identity.id not in {other.identity.id for other in members}

        await until(gone)
        await _member(subject.backend, lambda member: "b" in member.wanted)
    finally:
        await leaving.end()
        await staying.end()


@case("contract: members", "contract: holdings", needs=[*APART, Capability.CRASHING])
async def a_process_that_died_is_no_member_once_its_lease_ran_out(subject: Subject) -> None:
    doomed, staying = _Process(await subject.another()), _Process(subject.backend)
    try:
        await doomed.take("a")
        await staying.take("b")
        member = await _member(subject.backend, lambda member: "a" in member.wanted)
        await subject.crash(doomed.backend)

        async def gone() -> bool:
            members = await subject.roles.members()
            return member.identity.id not in {other.identity.id for other in members}

        await until(gone)
        holding = await _holding(subject.backend, "a")
        assert holding is not None, "the last holder is known"
        assert holding.process == member.identity.id
        assert holding.expires_at is not None, "it was not released, its lease ran out"
    finally:
        await doomed.end()
        await staying.end()


@case("contract: holdings")
async def a_holding_names_the_role_its_holder_and_its_token(subject: Subject) -> None:
    process = _Process(subject.backend)
    try:
        leases = {role: await process.take(role) for role in ("b é", "a", "c")}
        member = await _member(subject.backend, lambda member: set(leases) <= set(member.wanted))
        holdings = await subject.roles.holdings()
        assert [holding.role for holding in holdings] == ["a", "b é", "c"], "by role"
        for holding in holdings:
            assert holding.process == member.identity.id, holding
            assert holding.token == leases[holding.role].token, holding
            assert holding.expires_at is not None, "it is held"
            assert holding.expires_at > member.renewed_at
    finally:
        await process.end()


@case("contract: holdings")
async def a_role_that_was_released_names_its_last_holder(subject: Subject) -> None:
    process = _Process(subject.backend)
    try:
        lease = await process.take("role")
        held = await _holding(subject.backend, "role")
        assert held is not None
        await process.end()
        released = await _holding(subject.backend, "role")
        assert released is not None, "the last holder of a role that was released is known"
        assert (released.process, released.token, released.expires_at) == (held.process, lease.token, None)
        again = await process.take("role")
        held = await _holding(subject.backend, "role")
        assert held is not None
        assert held.token == again.token > lease.token
        assert held.expires_at is not None
    finally:
        await process.end()


@case("contract: holdings", needs=APART)
async def a_holding_names_the_new_holder_after_a_takeover(subject: Subject) -> None:
    first, second = _Process(subject.backend), _Process(await subject.another())
    try:
        await first.take("own 1")
        await second.take("own 2")
        await first.take("role")
        before = await _holding(subject.backend, "role")
        assert before is not None
        second.want("role")
        await first.end()

        async def taken_over() -> bool:
            holding = await _holding(subject.backend, "role")
            assert holding is not None
            return holding.process != before.process

        await until(taken_over)
        own = await _holding(subject.backend, "own 2")
        after = await _holding(subject.backend, "role")
        assert own is not None
        assert after is not None
        assert after.process == own.process
        assert after.token > before.token
    finally:
        await first.end()
        await second.end()
