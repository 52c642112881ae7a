"""Keeping processes going: the role first, then the work, a back-off after an error, and an end in good time."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from workflow import BackendNotOpen, ProcessState, Unavailable
from workflow._engine.log import SafeLogger
from workflow._engine.metrics import Metrics
from workflow._processes.lease_term import LeaseTerm
from workflow._processes.supervisor import Process, Supervisor
from workflow.protocols import Holding, Lease, Member, RoleScheduler
from workflow_adapters.memory import MemoryLease

Body = Callable[[LeaseTerm], Awaitable[None]]


class Roles(RoleScheduler):
    """Grants roles when told, and notes what becomes of them."""

    def __init__(self) -> None:
        self.granted = asyncio.Event()
        self.granted.set()
        self.errors: deque[Exception] = deque()
        self.asked: list[tuple[str, str]] = []
        self.leases: list[MemoryLease] = []
        self.released: list[str] = []

    @asynccontextmanager
    async def hold(self, role: str, *, group: str = "") -> AsyncIterator[Lease]:
        self.asked.append((role, group))
        if self.errors:
            raise self.errors.popleft()
        await self.granted.wait()
        self.leases.append(lease := MemoryLease(len(self.leases) + 1, unclean=False))
        try:
            yield lease
        finally:
            self.released.append(role)

    async def members(self) -> Sequence[Member]:
        return []

    async def holdings(self) -> Sequence[Holding]:
        return []


def supervisor(roles: Roles) -> Supervisor:
    return Supervisor("w", roles, Metrics(), SafeLogger(logging.getLogger("test.supervisor")), debug=True)


def process(body: Body, **fields: str) -> Process:
    return Process(name=fields.get("name", "p"), role=fields.get("role", "r"), body=body, back_off=timedelta(0))


async def until_draining(term: LeaseTerm) -> None:
    await term.draining.wait()


async def until_state(of: Supervisor, state: ProcessState, name: str = "p") -> None:
    async with asyncio.timeout(20):
        while of.states[name] is not state:
            await asyncio.sleep(0)


def test_process_states_have_the_numbers_and_texts_of_the_reference() -> None:
    """R-MODEL-11."""
    assert {int(state): str(state) for state in ProcessState} == {0: "Unknown", 1: "Shutdown", 2: "Running", 3: "Idle"}


async def test_a_process_is_idle_until_it_has_its_role_and_shut_down_in_the_end() -> None:
    roles = Roles()
    roles.granted.clear()
    of = supervisor(roles)
    task = asyncio.ensure_future(of.keep_going(of.announce(Process("p", "r", until_draining, group="g"))))
    await asyncio.sleep(0)
    assert of.states == {"p": ProcessState.IDLE}
    roles.granted.set()
    await until_state(of, ProcessState.RUNNING)
    assert roles.asked == [("r", "g")]
    of.stop(timedelta(seconds=1))
    await task
    assert of.states == {"p": ProcessState.SHUTDOWN}
    assert roles.released == ["r"]
    await of.finished("r")


async def test_a_process_that_waits_for_its_role_stops_at_once() -> None:
    roles = Roles()
    roles.granted.clear()
    of = supervisor(roles)
    task = asyncio.ensure_future(of.keep_going(of.announce(process(until_draining))))
    await asyncio.sleep(0)
    of.stop(timedelta(seconds=1))
    async with asyncio.timeout(10):
        await task
    assert (roles.leases, of.states["p"]) == ([], ProcessState.SHUTDOWN)


async def test_a_body_that_fails_or_returns_is_started_again_with_a_new_lease() -> None:
    roles = Roles()
    of = supervisor(roles)
    ends: deque[Exception | None] = deque([RuntimeError("one"), None, ValueError("two")])

    async def body(term: LeaseTerm) -> None:
        if not ends:
            await term.draining.wait()
        elif (error := ends.popleft()) is not None:
            raise error

    task = asyncio.ensure_future(of.keep_going(of.announce(process(body))))
    async with asyncio.timeout(10):
        while len(roles.leases) < 4:
            await asyncio.sleep(0)
        of.stop(timedelta(0))
        await task
    assert [lease.token for lease in roles.leases] == [1, 2, 3, 4]
    assert roles.released == ["r"] * 4
    errors = of._metrics.registry.get_sample_value(
        "workflow_process_error_count_total", {"workflow_name": "w", "process_name": "p"}
    )
    assert errors == 2


async def test_a_role_scheduler_that_fails_is_asked_again() -> None:
    roles = Roles()
    roles.errors += [Unavailable("away"), RuntimeError("broken")]
    of = supervisor(roles)
    task = asyncio.ensure_future(of.keep_going(of.announce(process(until_draining))))
    await until_state(of, ProcessState.RUNNING)
    of.stop(timedelta(0))
    await task
    assert len(roles.asked) == 3


async def test_a_lease_that_is_lost_drains_the_process_and_it_asks_for_the_role_again() -> None:
    roles = Roles()
    of = supervisor(roles)
    task = asyncio.ensure_future(of.keep_going(of.announce(process(until_draining))))
    await until_state(of, ProcessState.RUNNING)
    roles.leases[0].lost.set()
    async with asyncio.timeout(10):
        while len(roles.leases) < 2:
            await asyncio.sleep(0)
    assert roles.released == ["r"]
    of.stop(timedelta(0))
    await task


async def test_a_stop_gives_the_drain_time_to_what_is_under_way() -> None:
    of = supervisor(Roles())
    given: list[float] = []

    async def body(term: LeaseTerm) -> None:
        await term.draining.wait()
        given.append(term.drain_time)

    task = asyncio.ensure_future(of.keep_going(of.announce(process(body))))
    await until_state(of, ProcessState.RUNNING)
    of.stop(timedelta(seconds=7))
    await task
    assert given == [7.0]


@pytest.mark.parametrize("during", ["work", "waiting for the role"])
async def test_a_cancelled_process_releases_its_role(during: str) -> None:
    roles = Roles()
    of = supervisor(roles)
    if during != "work":
        roles.granted.clear()
    task = asyncio.ensure_future(of.keep_going(of.announce(process(until_draining))))
    if during == "work":
        await until_state(of, ProcessState.RUNNING)
    else:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert roles.released == (["r"] if during == "work" else [])
    assert of.states["p"] is ProcessState.SHUTDOWN


async def test_a_backend_that_was_left_ends_every_process_with_that_error() -> None:
    roles = Roles()
    of = supervisor(roles)
    left = BackendNotOpen("left")

    async def body(term: LeaseTerm) -> None:
        raise left

    others = asyncio.ensure_future(of.keep_going(of.announce(process(until_draining, name="other", role="other"))))
    await until_state(of, ProcessState.RUNNING, "other")
    async with asyncio.timeout(10):
        await of.keep_going(of.announce(process(body)))
        await others
    assert of.failed is left
    assert set(of.states.values()) == {ProcessState.SHUTDOWN}


async def test_two_processes_of_one_name_go_by_their_roles() -> None:
    of = supervisor(Roles())
    first, second = (of.announce(process(until_draining, role=role)) for role in ("one", "two"))
    assert (first.name, second.name) == ("p", "two")
    assert of.states.keys() == {"p", "two"}
    assert of.knows("one")
    assert not of.knows("three")
