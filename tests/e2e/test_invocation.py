"""How handlers are called: plain functions in threads, coroutines on the loop, within their time limit."""

import asyncio
import logging
import threading
import time
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

import anyio
import anyio.lowlevel
import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import (
    Builder,
    Options,
    Run,
)
from workflow.protocols import Backend
from workflow.testing import FakeClock, await_timeout_insert
from workflow_adapters.memory import MemoryBackend

R: TypeAlias = Run[Thing, Status]


async def test_plain_functions_run_in_threads_wherever_a_handler_may_be(backend: Backend) -> None:
    """R-API-8: step, callback, timer, timeout and hook, none on the loop."""
    clock = FakeClock()
    builder = Builder("threads", Thing, Status)
    threads: dict[str, threading.Thread] = {}

    def note(name: str) -> None:
        threads[name] = threading.current_thread()

    @builder.callback(Status.A)
    def called(run: R, payload: bytes) -> Literal[Status.B]:
        note("callback")
        return Status.B

    @builder.step(Status.B)
    def stepped(run: R) -> Literal[Status.C]:
        note("step")
        return Status.C

    def timer(run: R, now: datetime) -> datetime | None:
        note("timer")
        return now + timedelta(hours=1)

    @builder.timeout(Status.C, timer)
    def expired(run: R, now: datetime) -> Literal[Status.D]:
        note("timeout")
        return Status.D

    @builder.on_complete
    def completed(run: R) -> None:
        note("hook")

    wf = builder.build(backend, clock=clock)
    async with wf.running():
        run_id = await wf.trigger("key")
        await wf.callback("key", Status.A)
        await await_timeout_insert(wf, "key", run_id, Status.C, timeout=PATIENCE)
        clock.advance(timedelta(hours=1))
        await wf.wait_for("key", Status.D, timeout=PATIENCE)
        async with asyncio.timeout(20):
            while "hook" not in threads:
                await asyncio.sleep(0.01)
    assert set(threads) == {"callback", "step", "timer", "timeout", "hook"}
    assert threading.main_thread() not in threads.values()


async def test_a_plain_function_that_overruns_fails_its_attempt_when_it_ends() -> None:
    builder = Builder("overrun", Thing, Status)
    running, overran = threading.Semaphore(1), threading.Event()

    @builder.step(Status.A, options=Options(timeout=timedelta(milliseconds=50), err_back_off=timedelta(0)))
    def slow(run: R) -> Literal[Status.B]:
        assert running.acquire(blocking=False), "two attempts at once"
        try:
            if run.attempt == 1:
                assert overran.wait(20)
            return Status.B
        finally:
            running.release()

    class Overran(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "overran its timeout" in record.getMessage():
                overran.set()

    logger = logging.Logger("overrunning")
    logger.addHandler(Overran())
    wf = builder.build(MemoryBackend(), logger=logger)
    async with wf.running():
        run_id = await wf.trigger("key")
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert "took longer than" in (await wf.history(run_id))[1].last_error


async def test_a_handler_may_be_written_with_anyio(backend: Backend) -> None:
    builder = Builder("with anyio", Thing, Status)

    @builder.step(Status.A, options=Options(timeout=timedelta(seconds=10)))
    async def work(run: R) -> Literal[Status.B]:
        async def add() -> None:
            await anyio.lowlevel.checkpoint()
            run.object.count += 1

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(add)
        with anyio.move_on_after(0.01):
            await anyio.sleep_forever()
        run.object.text = await anyio.to_thread.run_sync(lambda: threading.current_thread().name)
        return Status.B

    wf = builder.build(backend)
    async with wf.running():
        await wf.trigger("key")
        run = await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert run.object.count == 3
        assert not run.last_error


async def test_an_async_handler_that_blocks_the_loop_is_named(caplog: pytest.LogCaptureFixture) -> None:
    builder = Builder("blocking", Thing, Status)

    @builder.step(Status.A)
    async def sleeps_in_the_loop(run: R) -> Literal[Status.B]:
        await asyncio.sleep(0)
        time.sleep(0.15)  # noqa: ASYNC251 - what is warned about
        return Status.B

    wf = builder.build(MemoryBackend())
    with caplog.at_level(logging.WARNING, logger="workflow"):
        async with wf.running():
            await wf.trigger("key")
            await wf.wait_for("key", Status.B, timeout=PATIENCE)
    warning = next(record for record in caplog.records if "blocked the event loop" in record.getMessage())
    assert "sleeps_in_the_loop" in warning.getMessage()
    assert "sleeps_in_the_loop" in warning.handler  # type: ignore[attr-defined]
