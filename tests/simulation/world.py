"""What all simulated processes share: the store, the network, the leases, the faults, and what was observed."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from workflow._engine.system_clock import SystemClock
from workflow_adapters.memory import MemoryRecordStore, MemoryTimeoutStore

EXTRA = ("broken", "patient", "decide", "alarm", "slowpoke", "unstorable", "unsendable", "nap")
"""Kinds of runs that not every world has; see programs.py."""
STILL_RULES = ("stuck", "verify", "livelock", "the world broke")
"""The rules that hold although the store went back in time, and forgot what it had acknowledged."""
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
    writers: int = 1
    busy: float = 0.0
    outage_at: float = 0.0
    outage: float = 0.0
    cut_at: float = 0.0
    cut: float = 0.0
    retry: bool = False
    laggards: bool = False
    page: int = 1000
    extra: tuple[str, ...] = ()
    remembered: int = 50_000
    claim: float = 60.0
    rewinds: bool = False

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
        plan._draw_rest(random.Random(f"rest {seed} {liveness}"))
        return plan

    def _draw_rest(self, rng: random.Random) -> None:
        self.writers = rng.choice((1, 1, 2))
        self.busy = rng.uniform(0.05, 0.3) if rng.random() < 0.25 else 0.0
        self.retry = not self.poison and rng.random() < 0.4
        self.extra = tuple(kind for kind in EXTRA if rng.random() < 0.15)
        if not self.sweep:
            # A handler that takes longer than half a minute is left to the sweeper.
            self.extra = tuple(kind for kind in self.extra if kind != "slowpoke")
        if rng.random() < 0.15:
            # Longer than the patience of a verb.
            self.outage_at, self.outage = rng.uniform(3, 20), rng.uniform(70, 90)
            self.trouble += self.outage
        elif rng.random() < 0.25 and not (self.spinner or self.sleeper or self.slow):
            # The relay has little room, and is never without events that were due later.
            self.laggards, self.page = True, 4
            if self.sweep and not self.schedule and rng.random() < 0.7:
                # Nor, by somebody's clock, without events that should have been sent long ago.
                self.processes = max(2, self.processes)
                self.skew, self.loss = rng.uniform(10, 20), rng.uniform(0.2, 0.5)
        elif rng.random() < 0.15:
            # Nothing can be sent for a while, though all else goes on.
            self.cut_at, self.cut = rng.uniform(3, 20), rng.uniform(30, 50)
            self.trouble += self.cut
        if self.spinner and rng.random() < 0.5:
            self.slots = 1
        # What a consumer forgot costs it a lookup, and nobody anything else.
        self.remembered = rng.choice((1, 50_000, 50_000))
        # How long a timer is claimed only affects speed: some claims run out while their holder works on.
        self.claim = rng.choice((3.0, 60.0))


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
        committed: when each version was written. refused: runs of which the stream refused events.
    """

    plan: Plan
    loop: Any
    rng: random.Random
    records: MemoryRecordStore = field(default_factory=MemoryRecordStore)
    timeouts: MemoryTimeoutStore = field(default_factory=MemoryTimeoutStore)
    stream: Any = None
    roles: Any = None
    watch: Any = None
    processes: dict[str, Any] = field(default_factory=dict)
    healed: bool = False
    over: bool = False
    complaints: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    told: list[tuple[str, int, str]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    hooked: set[str] = field(default_factory=set)
    skipped_at: dict[tuple[str, int], float] = field(default_factory=dict)
    swept: defaultdict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    committed: dict[tuple[str, int], float] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    healed_at: float = 0.0
    kills: int = 0
    fleet: Any = None
    kill: Callable[[Any], None] = lambda process: None

    def complain(self, rule: str, why: str) -> None:
        if self.plan.rewinds and rule not in STILL_RULES:
            return
        self.complaints.append(f"{rule}: {why}")

    def note(self, what: str) -> None:
        self.trace.append(f"{self.loop.time():.4f} {what}")

    def out(self) -> bool:
        """True while the store cannot be reached by anybody."""
        plan = self.plan
        return not self.healed and 0 <= self.loop.time() - plan.outage_at < plan.outage

    def is_cut(self) -> bool:
        """True while the stream takes no events."""
        plan = self.plan
        return not self.healed and 0 <= self.loop.time() - plan.cut_at < plan.cut

    def chance(self, share: float) -> bool:
        return not self.healed and share > 0 and self.rng.random() < share
