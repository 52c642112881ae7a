"""Calling a handler: on the loop or in a thread, within its time limit, without a result once it was cancelled."""

import asyncio
import functools
import logging
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from workflow._declare.handlers import Handler
from workflow._engine.invoker import HandlerCancelled, HandlerExit, HandlerTimeout, Invoker
from workflow._engine.log import SafeLogger

SHORT, LONG = timedelta(milliseconds=20), timedelta(seconds=20)


class Log(logging.Handler):
    """Keeps messages, and tells about each."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.told = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self.told.set()


def invoker(log: Log | None = None, **arguments: int) -> Invoker:
    logger = logging.Logger("invoker")
    logger.addHandler(log or Log())
    return Invoker(SafeLogger(logger), **arguments)


async def called(fn: Callable[..., Any], *args: object, timeout: timedelta | None = None) -> Any:
    async with asyncio.timeout(20):
        return await invoker().call(Handler.of(fn), *args, timeout=timeout)


async def a_coroutine(value: int) -> tuple[int, str]:
    await asyncio.sleep(0)
    return value, threading.current_thread().name


def a_function(value: int) -> tuple[int, str]:
    return value, threading.current_thread().name


def gives_a_coroutine(value: int) -> Any:
    return a_coroutine(value)


@pytest.mark.parametrize("timeout", [None, LONG], ids=["no limit", "limit"])
@pytest.mark.parametrize("fn", [a_coroutine, a_function, gives_a_coroutine, functools.partial(a_coroutine)])
async def test_a_handler_of_any_kind_is_called_and_its_result_returned(
    fn: Callable[..., Any], timeout: timedelta | None
) -> None:
    value, thread = await called(fn, 7, timeout=timeout)
    assert value == 7
    in_the_loop = thread == threading.current_thread().name
    assert in_the_loop is (fn is not a_function), "a plain function runs in a thread of its own"


@pytest.mark.parametrize("timeout", [None, LONG], ids=["no limit", "limit"])
async def test_errors_of_a_handler_are_passed_on(timeout: timedelta | None) -> None:
    error = KeyError("mine")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise error

    def fails_in_a_thread() -> None:
        raise error

    for fn in (fails, fails_in_a_thread):
        with pytest.raises(KeyError) as caught:
            await called(fn, timeout=timeout)
        assert caught.value is error


async def test_a_coroutine_that_overruns_is_cancelled() -> None:
    ended = asyncio.Event()

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(HandlerTimeout, match=r"hangs took longer than 0:00:00\.02"):
        await called(hangs, timeout=SHORT)
    assert ended.is_set()


async def test_a_coroutine_that_ignores_the_end_of_its_time_has_failed_all_the_same() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "a result"
        return "never"

    with pytest.raises(HandlerTimeout, match="ignored its cancellation"):
        await called(stubborn, timeout=SHORT)


async def test_a_time_out_of_the_handlers_own_is_no_overrun() -> None:
    async def impatient() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError) as caught:
        await called(impatient, timeout=LONG)
    assert not isinstance(caught.value, HandlerTimeout)


async def test_a_plain_function_that_overruns_keeps_its_thread_and_fails_when_it_ends() -> None:
    log = Log()

    def overruns() -> str:
        assert log.told.wait(20), "the overrun was not reported"
        return "too late"

    with pytest.raises(HandlerTimeout, match="overruns took longer"):
        async with asyncio.timeout(20):
            await invoker(log).call(Handler.of(overruns), timeout=SHORT)
    assert "its slot waits for the thread" in log.messages[0]


@pytest.mark.parametrize("swallow", [False, True])
@pytest.mark.parametrize("timeout", [None, LONG], ids=["no limit", "limit"])
async def test_a_cancelled_attempt_has_no_result(swallow: bool, timeout: timedelta | None) -> None:
    begun = asyncio.Event()

    async def works() -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not swallow:
                raise
        return "a result"

    task = asyncio.ensure_future(called(works, timeout=timeout))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_was_not_meant_for_the_handler_is_a_failed_attempt() -> None:
    async def waits() -> None:
        task = asyncio.ensure_future(asyncio.Event().wait())
        asyncio.get_running_loop().call_soon(task.cancel)
        await task

    with pytest.raises(HandlerCancelled, match="something it waited for"):
        await called(waits)


def exits() -> None:
    sys.exit("usage")


def interrupts() -> None:
    raise KeyboardInterrupt("in a handler")


@pytest.mark.parametrize(("fn", "text"), [(exits, "exit the program with 'usage'"), (interrupts, "KeyboardInterrupt")])
@pytest.mark.parametrize("kind", ["thread", "loop"])
async def test_an_exit_ends_the_attempt_and_not_the_program(fn: Callable[[], None], text: str, kind: str) -> None:
    async def on_the_loop() -> None:
        fn()

    with pytest.raises(HandlerExit, match=text):
        await called(fn if kind == "thread" else on_the_loop)


async def test_so_many_plain_functions_run_at_once_and_waiting_for_a_thread_is_no_overrun() -> None:
    of = invoker(threads=2)
    together = threading.Barrier(2)
    busy: list[int] = []
    lock = threading.Lock()
    most = 0

    def works() -> None:
        nonlocal most
        with lock:
            busy.append(1)
            most = max(most, len(busy))
        together.wait(20)
        with lock:
            busy.pop()

    async with asyncio.timeout(20):
        await asyncio.gather(*(of.call(Handler.of(works), timeout=LONG) for _ in range(6)))
    assert most == 2


async def test_a_handler_that_blocks_the_loop_is_named_at_any_of_its_stretches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = 0.0
    monkeypatch.setattr("workflow._engine.invoker.time.perf_counter", lambda: seconds)

    async def blocks(at: str) -> None:
        nonlocal seconds
        seconds += 1.0 if at == "first" else 0.01
        await asyncio.sleep(0)
        seconds += 2.0 if at == "later" else 0.01

    for at, warned in (("first", "1.00 s"), ("later", "2.00 s"), ("never", None)):
        log = Log()
        await invoker(log).call(Handler.of(blocks), at)
        found = [message for message in log.messages if "blocked the event loop" in message]
        assert len(found) == (warned is not None)
        if warned is not None:
            assert warned in found[0]
            assert "blocks" in found[0]


def test_the_threads_belong_to_the_loop_that_runs() -> None:
    of = invoker(threads=1)
    for number in range(3):
        assert asyncio.run(of.call(Handler.of(a_function), number))[0] == number


@pytest.mark.parametrize("after", ["at once", "later"])
async def test_a_generator_exit_of_the_handlers_own_is_a_failed_attempt(after: str) -> None:
    async def leave() -> None:
        if after == "later":
            await asyncio.sleep(0)
        raise GeneratorExit

    with pytest.raises(HandlerExit, match="GeneratorExit"):
        await invoker().call(Handler.of(leave))
