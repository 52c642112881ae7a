"""What all simulated processes share: the store, the network, the leases, the faults, and what was observed."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from workflow._clock import SystemClock
from workflow_adapters.memory import MemoryRecordStore, MemoryTimeoutStore

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Plan:
    """What one seed does; drawn from the seed, so that seeds differ in kind and not only in luck."""

    seed: int
    liveness: bool
    processes: int = 2
    shards: int = 1
    slots: int = 4
    sweep: bool = True
    skew: float = 0.0
    unavailable: float = 0.0
    unknown: float = 0.0
    slow: float = 0.0
    loss: float = 0.0
    twice: float = 0.0
    late: float = 0.0
    wipes: bool = False
    crashes: float = 0.0
    stops: float = 0.0
    lost_leases: float = 0.0
    poison: bool = False
    schedule: bool = False
    spinner: bool = False
    sleeper: bool = False
    verbs: float = 0.0
    runs: int = 8
    trouble: float = 40.0
    failing: float = 0.2

    @classmethod
    def draw(cls, seed: int, *, liveness: bool) -> "Plan":
        rng = random.Random(f"plan {seed} {liveness}")

        def sometimes(share: float, low: float, high: float) -> float:
            return rng.uniform(low, high) if rng.random() < share else 0.0

        plan = cls(
            seed=seed,
            liveness=liveness,
            processes=rng.choice((1, 2, 2, 3)),
            shards=rng.choice((1, 1, 2)),
            slots=rng.choice((1, 2, 8)),
            unavailable=sometimes(0.5, 0.01, 0.15),
            unknown=sometimes(0.5, 0.02, 0.25),
            slow=sometimes(0.4, 0.02, 0.2),
            loss=sometimes(0.4, 0.05, 0.5),
            twice=sometimes(0.5, 0.05, 0.4),
            late=sometimes(0.5, 0.05, 0.5),
            wipes=rng.random() < 0.15,
            crashes=sometimes(0.6, 4.0, 15.0),
            stops=sometimes(0.4, 5.0, 15.0),
            lost_leases=sometimes(0.5, 2.0, 10.0),
            poison=rng.random() < 0.2,
            schedule=rng.random() < 0.15,
            spinner=rng.random() < 0.25,
            verbs=sometimes(0.5, 1.0, 5.0),
            runs=rng.randint(4, 10),
            failing=sometimes(0.7, 0.05, 0.4),
        )
        plan.skew = 0.0 if plan.schedule else sometimes(0.3, 0.5, 20.0)
        # Where no event is ever lost the engine must manage without its sweeper.
        plan.sweep = bool(plan.loss or plan.wipes) or rng.random() < 0.6
        if plan.schedule:
            plan.trouble = 200.0
        plan.sleeper = liveness and plan.slots == 1 and seed % 2 == 0
        return plan


class SimClock(SystemClock):
    """One process's clock: off by a while, and set now and then."""

    def __init__(self, loop: asyncio.AbstractEventLoop, offset: float) -> None:
        self._loop, self.offset = loop, offset

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._loop.time() + self.offset)


@dataclass
class Call:
    """One call of a handler."""

    run_id: str
    status: int
    version: int
    process: str
    at: float


@dataclass
class World:
    """The shared world of one seed.

    Attributes:
        healed: no more faults. over: the end; ports of everybody refuse.
        complaints: what broke a rule while it was observed.
        told: moves that some engine took for durable: (run, version, attempt).
    """

    plan: Plan
    loop: Any
    rng: random.Random
    records: MemoryRecordStore = field(default_factory=MemoryRecordStore)
    timeouts: MemoryTimeoutStore = field(default_factory=MemoryTimeoutStore)
    stream: Any = None
    roles: Any = None
    healed: bool = False
    over: bool = False
    complaints: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    told: list[tuple[str, int, str]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    hooked: set[str] = field(default_factory=set)
    skipped_at: dict[tuple[str, int], float] = field(default_factory=dict)
    swept: defaultdict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    kills: int = 0
    kill: Callable[[Any], None] = lambda process: None

    def complain(self, rule: str, why: str) -> None:
        self.complaints.append(f"{rule}: {why}")

    def note(self, what: str) -> None:
        self.trace.append(f"{self.loop.time():.4f} {what}")

    def chance(self, share: float) -> bool:
        return not self.healed and share > 0 and self.rng.random() < share
