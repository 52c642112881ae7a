"""Handlers that do what they should not: each fails its own attempt and nothing else."""

import asyncio
import gc
import logging
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

import pytest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Builder, Options, Run
from workflow.protocols import Backend
from workflow_adapters.memory import MemoryBackend

QUICK = Options(err_back_off=timedelta(milliseconds=10))
QUIET = logging.getLogger("tests.quiet")
"""For errors with half a character: reports of tests travel between processes, and cannot hold one."""
QUIET.disabled = True


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError("no text")


def fail_with(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


ODD: dict[str, tuple[Callable[[], Any], str]] = {
    "an exit": (lambda: sys.exit("usage: ..."), "tried to exit the program with 'usage: ...'"),
    "an error without a text": (fail_with(Unprintable()), "Unprintable: (its text cannot be had)"),
    "a result that cannot be shown": (Unshowable, "RuntimeError: no text"),
    "a StopIteration": (fail_with(StopIteration()), "StopIteration"),
    "a group of errors": (fail_with(ExceptionGroup("two", [ValueError("one"), KeyError("two")])), "ExceptionGroup"),
    "an error of half a character": (fail_with(ValueError("\ud800\x00")), "ValueError"),
}


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
@pytest.mark.parametrize("name", ODD)
async def test_whatever_a_handler_does_is_a_failed_attempt(name: str, plain: bool) -> None:
    odd, text = ODD[name]
    builder = Builder("odd", Thing, Status)

    def work(run: Run[Thing, Status]) -> Status:
        return odd() if run.attempt == 1 else Status.B

    async def work_async(run: Run[Thing, Status]) -> Status:
        return work(run)

    builder.step(Status.A, to=Status.B)(work if plain else work_async)
    wf = builder.build(MemoryBackend(), default_options=QUICK, logger=QUIET)
    async with wf.running():
        run_id = await wf.trigger("key")
        await wf.wait_for("key", Status.B, run_id=run_id, timeout=PATIENCE)
        failed = (await wf.history(run_id))[1]
        assert text in failed.last_error


async def test_a_file_keeps_the_text_of_any_error(backend: Backend) -> None:
    builder = Builder("texts", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        if run.attempt == 1:
            raise ValueError("\ud800\x00" + "ä" * 20_000 + "the end")
        return Status.B

    wf = builder.build(backend, default_options=QUICK, logger=QUIET)
    async with wf.running():
        run_id = await wf.trigger("key")
        await wf.wait_for("key", Status.B, run_id=run_id, timeout=PATIENCE)
        kept = (await wf.history(run_id))[1].last_error
        assert len(kept.encode()) <= 8192
        assert "the end" in kept


async def test_an_error_of_a_thread_that_was_given_up_is_nobody_s_business(caplog: pytest.LogCaptureFixture) -> None:
    """A stop gives up on it after the drain time; when it fails later, no task complains of an error nobody read."""
    builder = Builder("late", Thing, Status)
    loop, go_on, begun = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    @builder.step(Status.A)
    def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        raise ValueError("too late")

    wf = builder.build(MemoryBackend())
    async with wf.running():
        await wf.trigger("key")
        await begun.wait()
        await wf.stop(timedelta(0))
    go_on.set()
    threads = wf._engine.invoker._free_threads()
    async with asyncio.timeout(20):
        while threads._value < 40:  # the thread has ended, and the engine has heard of it
            await asyncio.sleep(0.005)
    gc.collect()
    assert "never retrieved" not in caplog.text
