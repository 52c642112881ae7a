"""Processes that share the lease rows of a SQLite file, in virtual time."""

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping

from tests.simulation.loop import SimLoop
from workflow.errors import Unavailable
from workflow.protocols import ProcessIdentity
from workflow_adapters.kit.lease_keeper import LeaseKeeper
from workflow_adapters.kit.leases import Beat, Choose, LeaseStore
from workflow_adapters.sqlite.leases import LeaseRows
from workflow_adapters.sqlite.tables import ADDITIONS, FIRST

LEASE = 9.0
ROUND_TRIP = 0.01
_LOG = logging.getLogger("workflow.tests")


def tables() -> sqlite3.Connection:
    """An empty file with the tables of roles."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(FIRST)
    for addition in ADDITIONS:
        for statement in addition:
            connection.execute(statement)
    return connection


class Process(LeaseStore):
    """One process: its keeper, its way to the rows, and a task for each role that it declares."""

    def __init__(self, fleet: "Fleet", name: str) -> None:
        self.name = name
        self.reachable = True
        self._fleet = fleet
        self._rows = LeaseRows(ProcessIdentity(id=name), LEASE, fleet.clock)
        self.keeper = LeaseKeeper(self, process=name, lease_time=LEASE, tell_others=fleet.tell, log=_LOG)
        self._tasks: list[asyncio.Task[None]] = []

    async def declare(self, roles: Mapping[str, str]) -> None:
        """Begin to serve these roles, given with their groups."""
        await self.keeper.__aenter__()
        self._tasks = [asyncio.ensure_future(self._serve(role, group)) for role, group in roles.items()]

    async def _serve(self, role: str, group: str) -> None:
        held = self._fleet.held
        while True:
            async with self.keeper.hold(role, group) as lease:
                assert role not in held, f"{role} is held by {held[role]} and {self.name} at once"
                held[role] = self.name
                self._fleet.grants[role] += 1
                self._fleet.unclean += lease.unclean
                try:
                    await lease.lost.wait()
                finally:
                    del held[role]

    async def stop(self) -> None:
        """End its tasks, then leave."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.keeper.__aexit__()
        self.failed()

    def failed(self) -> None:
        """Raise what a task has failed with."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def beat(self, wants: Mapping[str, str], held: Mapping[str, int], choose: Choose) -> Beat:
        await self._travel()
        return self._rows.beat(self._fleet.connection, wants, held, choose)

    async def release(self, leases: Mapping[str, int], wants: Mapping[str, str]) -> None:
        await self._travel()
        self._rows.release(self._fleet.connection, leases, wants)

    async def leave(self) -> None:
        await self._travel()
        self._rows.leave(self._fleet.connection)

    async def _travel(self) -> None:
        await asyncio.sleep(ROUND_TRIP)
        if not self.reachable:
            raise Unavailable("the test cut the connection")


class Fleet:
    """All processes.

    Attributes:
        held: the present holder of each role; two at once fail the test.
        grants: how often each role was given.
        unclean: how many grants were unclean.
        skew: seconds by which the clock of the machine is off.
    """

    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        self.connection = tables()
        self.held: dict[str, str] = {}
        self.grants: Counter[str] = Counter()
        self.unclean = 0
        self.skew = 0.0
        self.processes: dict[str, Process] = {}

    def clock(self) -> int:
        return int((100_000 + self.loop.time() + self.skew) * 1e9)

    def tell(self) -> None:
        for process in self.processes.values():
            process.keeper.wake()

    async def join(self, name: str, roles: Mapping[str, str]) -> Process:
        """A new process that declares these roles."""
        process = self.processes[name] = Process(self, name)
        await process.declare(roles)
        return process

    async def quit(self, name: str) -> None:
        """A process stops."""
        await self.processes.pop(name).stop()

    async def until(self, condition: Callable[[], bool], within: float) -> float:
        """Wait for the condition; the virtual seconds that it took."""
        began = self.loop.time()
        while not condition():
            for process in self.processes.values():
                process.failed()
            assert self.loop.time() - began < within, f"not within {within} s: {self.held}"
            await asyncio.sleep(0.05)
        return self.loop.time() - began

    def counts(self, *roles: str) -> list[int]:
        """How many of these roles each process holds, in rising order."""
        held = Counter(self.held[role] for role in roles if role in self.held)
        return sorted(held.values())


def simulate(seed: int, story: Callable[[Fleet], Coroutine[None, None, None]]) -> None:
    """Run a story in virtual time; all processes that are left stop at its end."""
    loop = SimLoop(seed)
    fleet = Fleet(loop)

    async def tell() -> None:
        try:
            await story(fleet)
        finally:
            for name in list(fleet.processes):
                await fleet.quit(name)

    try:
        loop.run_until_complete(tell())
    finally:
        fleet.connection.close()
        loop.close()
