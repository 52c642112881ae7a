"""Ports that fail, stall or break their word, in virtual time: verbs answer, stops end, timers are not late."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any, Literal

import pytest

from tests.e2e.failing_ports import Ports, waiting
from tests.e2e.model import Status, Thing
from tests.e2e.virtual import clock, virtually
from workflow import Builder, Decision, Options, Run, RunState, Unavailable, Workflow
from workflow.protocols import Lease, TimeoutQuery
from workflow_adapters.memory import (
    MemoryRoleScheduler,
)

SOON = timedelta(minutes=10)
FORGETTING = TimeoutQuery(workflow_name="forgetting", completed=True)


def test_every_verb_gives_up_after_its_deadline() -> None:
    """Design: while the store cannot be reached, verbs called by users raise after their deadline."""

    async def main() -> None:
        ports = Ports()
        wf = waiting(ports)
        run_id = await wf.trigger("key")
        ports.records.cut = True
        for verb in (
            wf.trigger("other"),
            wf.callback("key", Status.A),
            wf.pause(run_id),
            wf.cancel(run_id),
        ):
            with pytest.raises(Unavailable):
                async with asyncio.timeout(120):
                    await verb
        ports.records.cut = False
        await wf.callback("key", Status.A)
        await wf._engine.commits.flush()

    virtually(main())


def test_a_store_that_breaks_its_word_leaves_nobody_waiting() -> None:
    async def main() -> None:
        ports = Ports()
        wf = waiting(ports)
        ports.records.broken = True
        with pytest.raises(ValueError, match="outcomes"):
            async with asyncio.timeout(120):
                await wf.trigger("key")
        ports.records.broken = False
        await wf.trigger("other")
        await wf._engine.commits.flush()

    virtually(main())


def test_resuming_is_done_although_the_timers_cannot_be_reached() -> None:
    async def main() -> None:
        ports = Ports()
        wf = waiting(ports)
        async with wf.running():
            run_id = await wf.trigger("key")
            await asyncio.sleep(1)
            await wf.pause(run_id)
            await asyncio.sleep(3600)
            ports.timeouts.cut = True
            await wf.resume(run_id)
            assert (await wf.get(run_id)).run_state is RunState.RUNNING
            await wf.wait_for("key", Status.C, timeout=SOON)

    virtually(main())


def test_a_timer_is_not_late_when_its_run_is_resumed_while_it_is_being_postponed() -> None:
    """Design: a timer of a paused run is postponed; resuming makes it due again."""

    async def main() -> None:
        ports = Ports()
        wf = waiting(ports)
        async with wf.running():
            run_id = await wf.trigger("key")
            await asyncio.sleep(1)
            await wf.pause(run_id)
            ports.timeouts.go_on.clear()
            await ports.timeouts.postponing.wait()
            await wf.resume(run_id)
            ports.timeouts.go_on.set()
            await wf.wait_for("key", Status.C, timeout=timedelta(seconds=30))

    virtually(main())


def test_stalled_runs_are_emitted_again_in_batches() -> None:
    """Design: re-emission runs in batches."""

    async def main() -> None:
        ports = Ports()
        front = waiting(ports)
        await asyncio.gather(*(front.trigger(f"key {number}") for number in range(2000)))
        page = await ports.records.list_outbox("waiting", now=clock().now(), limit=5000)
        await ports.records.delete_outbox([event.id for event in page.events])
        await asyncio.sleep(100)
        before = ports.records.writes
        wf = waiting(ports)
        async with wf.running():
            while len(await ports.timeouts.list(TimeoutQuery(workflow_name="waiting", limit=2000))) < 2000:
                await asyncio.sleep(1)
            # Emissions, marks, and a few more because they wait for each other.
            assert ports.records.writes - before < 200

    virtually(main())


def test_paused_runs_are_resumed_in_batches() -> None:
    async def main() -> None:
        ports = Ports()
        builder = Builder("failing", Thing, Status)
        well = asyncio.Event()

        @builder.step(Status.A)
        async def fail(run: Run[Thing, Status]) -> Literal[Status.B]:
            if not well.is_set():
                raise RuntimeError("not well")
            return Status.B

        options = Options(pause_after_err_count=1)
        wf = builder.build(ports.backend, clock=clock(), default_options=options, pause_retry=timedelta(minutes=1))
        async with wf.running():
            run_ids = await asyncio.gather(*(wf.trigger(f"key {number}") for number in range(1000)))
            await asyncio.sleep(30)
            before = ports.records.writes
            well.set()
            await asyncio.gather(
                *(wf.wait_for(f"key {n}", Status.B, run_id=one, timeout=SOON) for n, one in enumerate(run_ids))
            )
            assert ports.records.writes - before < 100

    virtually(main())


def test_a_failed_attempt_comes_again_after_its_back_off_and_not_after_the_consume_lag() -> None:
    """The same where the status has timers as where it has none."""

    async def main() -> None:
        for timers in (False, True):
            ports = Ports()
            builder = Builder("lagging", Thing, Status)

            @builder.step(Status.A, options=Options(consume_lag=timedelta(hours=2)))
            async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
                if run.attempt == 1:
                    raise RuntimeError("once")
                return Status.B

            if timers:

                @builder.timeout(Status.A, timedelta(days=1))
                async def late(run: Run[Thing, Status], now: datetime) -> Literal[Status.C]:
                    return Status.C

            wf = builder.build(ports.backend, clock=clock())
            async with wf.running():
                await wf.trigger("key")
                await wf.wait_for("key", Status.B, timeout=timedelta(hours=2, minutes=5))

    virtually(main())


def test_what_a_timer_knows_of_a_run_goes_with_the_run_s_data() -> None:
    """Design: deletion erases error texts; a timer's error is one of them."""

    async def main() -> None:
        ports = Ports()
        builder = Builder("forgetting", Thing, Status)

        @builder.callback(Status.A)
        async def go(run: Run[Thing, Status], payload: bytes) -> Literal[Status.B]:
            return Status.B

        @builder.timeout(Status.A, timedelta(seconds=1))
        async def fail(run: Run[Thing, Status], now: datetime) -> Decision:
            if run.attempt == 1:
                raise ValueError(f"secret of {run.object.text}")
            return run.skip()

        wf = builder.build(ports.backend, clock=clock())
        async with wf.running():
            run_id = await wf.trigger("person", Thing(text="Ada"))
            await asyncio.sleep(60)
            assert "secret of Ada" in (await ports.timeouts.list(FORGETTING))[0].last_error
            await wf.callback("person", Status.A)
            await wf.delete_data(run_id)
            await asyncio.sleep(60)
            assert (await wf.get(run_id)).run_state is RunState.DATA_DELETED
            assert await ports.timeouts.list(FORGETTING) == []

    virtually(main())


def test_a_visit_s_completed_timers_go_when_another_timer_of_it_leaves_it() -> None:
    async def main() -> None:
        ports = Ports()
        builder = Builder("leaving", Thing, Status)

        @builder.timeout(Status.A, timedelta(seconds=10))
        async def skip(run: Run[Thing, Status], now: datetime) -> Decision:
            return run.skip()

        @builder.timeout(Status.A, timedelta(seconds=20))
        async def leave(run: Run[Thing, Status], now: datetime) -> Literal[Status.B]:
            return Status.B

        wf = builder.build(ports.backend, clock=clock())
        async with wf.running():
            await wf.trigger("key")
            await wf.wait_for("key", Status.B, timeout=SOON)
            await asyncio.sleep(60)
            assert await ports.timeouts.list(TimeoutQuery(workflow_name="leaving", completed=True)) == []

    virtually(main())


def test_a_deletion_is_swept_although_its_run_s_status_is_no_longer_known() -> None:
    """The engine pauses runs of unknown statuses; one that is to be erased cannot be paused, and stops no sweep."""

    class Fewer(IntEnum):
        B = 2
        C = 3

    async def main() -> None:
        ports = Ports()
        front = waiting(ports)
        run_id = await front.trigger("key")
        await front.cancel(run_id)
        await front.delete_data(run_id)
        page = await ports.records.list_outbox("waiting", now=clock().now(), limit=5000)
        await ports.records.delete_outbox([event.id for event in page.events])
        builder = Builder("waiting", Thing, Fewer)

        @builder.step(Fewer.B)
        async def work(run: Run[Thing, Fewer]) -> Literal[Fewer.C]:
            return Fewer.C

        await asyncio.sleep(100)
        wf = builder.build(ports.backend, clock=clock())
        async with wf.running():
            await asyncio.sleep(300)
            assert (await wf.get(run_id)).run_state is RunState.DATA_DELETED

    virtually(main())


class Unclean(MemoryRoleScheduler):
    """Every holder before has crashed."""

    @asynccontextmanager
    async def _hold(self, role: str, *others: Any) -> AsyncIterator[Lease]:
        async with super()._hold(role, *others) as lease:
            lease.unclean = True
            yield lease


def test_a_start_that_was_noted_but_never_made_is_no_crash() -> None:
    """Design: crashes count. A stop between the note of the start and the start is none."""

    async def main() -> None:
        ports = Ports()
        ports.backend.role_scheduler = Unclean()
        builder = Builder("noted", Thing, Status)

        @builder.step(Status.A)
        async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
            return Status.B

        wf = builder.build(ports.backend, clock=clock())
        async with wf.running():
            await asyncio.sleep(1)
            run_id = await wf.trigger("key")
            ports.records.cut = True
            await asyncio.sleep(1)
            await wf.stop(timedelta(0))
        ports.records.cut = False
        await wf._engine.commits.flush()
        again = builder.build(ports.backend, clock=clock())
        async with again.running():
            await again.wait_for("key", Status.B, run_id=run_id, timeout=SOON)
        assert [version.attempt for version in await again.history(run_id)] == [1, 1]

    virtually(main())


def test_a_timer_s_function_that_takes_minutes_is_called_once() -> None:
    """Its claim runs out meanwhile, but its holder knows what it has in hand."""

    async def main() -> None:
        ports = Ports()
        builder = Builder("slow", Thing, Status)
        calls = 0

        @builder.timeout(Status.A, timedelta(seconds=1))
        async def slow(run: Run[Thing, Status], now: datetime) -> Literal[Status.B]:
            nonlocal calls
            calls += 1
            await asyncio.sleep(500)
            return Status.B

        wf = builder.build(ports.backend, clock=clock())
        async with wf.running():
            await wf.trigger("key")
            await wf.wait_for("key", Status.B, timeout=SOON)
            await asyncio.sleep(600)
            assert calls == 1

    virtually(main())


def test_a_loop_that_was_closed_in_the_middle_of_a_write_keeps_nobody_from_the_next() -> None:
    """Its writer is never heard of again, or is collected later: neither may count as being at work."""

    def abandon(wf: Workflow[Thing, Status]) -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(wf.trigger("abandoned"))
        # A few turns, not a while: on a busy machine a while is enough for the whole write.
        for _ in range(3):
            loop.run_until_complete(asyncio.sleep(0))
        assert not task.done()
        for one in asyncio.all_tasks(loop):
            one._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()

    async def go_on(wf: Workflow[Thing, Status], key: str) -> None:
        async with asyncio.timeout(20):
            await wf.trigger(key)
        gc.collect()
        async with asyncio.timeout(20):
            await wf.trigger(f"{key} again")

    builder = Builder("abandoned", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B

    wf = builder.build(Ports().backend)
    abandon(wf)
    asyncio.run(go_on(wf, "first"))
    abandon(wf)
    gc.collect()
    asyncio.run(go_on(wf, "second"))
