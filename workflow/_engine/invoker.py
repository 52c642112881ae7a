"""Calling a user's handler: on the loop or in a worker thread, within its time limit.

Owns three rules. A handler that was cancelled has no result, even if it swallowed the cancellation. A plain function
that overruns keeps its thread until it ends, and only then has failed. A coroutine that blocks the loop is named in a
warning.
"""

import asyncio
import time
import types
from collections.abc import Callable, Coroutine, Generator
from datetime import timedelta
from typing import Any

import anyio
import anyio.to_thread

from .._declare.handlers import Handler
from .error_text import safe_str
from .log import SafeLogger

BLOCKED = 0.1
"""Seconds that an async handler may keep the loop from everything else before it is named in a warning."""


class HandlerTimeout(TimeoutError):
    """A handler overran its `timeout`."""


class HandlerCancelled(RuntimeError):
    """A handler raised CancelledError although its task was not cancelled: something it waited for was."""


class HandlerExit(RuntimeError):
    """A handler raised a BaseException: SystemExit as command-line code does, or an exception of a test framework.

    A worker does not end for that, and the slot is not lost: it is a failed attempt like any other.
    """

    def __init__(self, handler: str, error: BaseException) -> None:
        if isinstance(error, SystemExit):
            super().__init__(f"{handler} tried to exit the program with {error.code!r}")
        else:
            super().__init__(f"{handler} raised {type(error).__name__}, which is no Exception: {safe_str(error)}")


class Invoker:
    """Calls handlers; at most `threads` plain functions run at the same time."""

    def __init__(self, logger: SafeLogger, threads: int = 40) -> None:
        self._logger, self._threads = logger, threads
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads_free: asyncio.Semaphore

    async def call(self, handler: Handler, *args: Any, timeout: timedelta | None = None) -> Any:
        """The handler's result; its errors are passed on.

        Raises:
            HandlerTimeout: it took longer than `timeout`.
            asyncio.CancelledError: the calling task was cancelled meanwhile, whatever the handler did about it.
        """
        task = asyncio.current_task()
        assert task is not None, "handlers run in tasks"
        cancelled_before = task.cancelling()
        try:
            if handler.is_async and timeout is None:
                result = await self._plainly(handler.call(*args), handler)
            else:
                result = await self._result(handler, args, timeout)
        except asyncio.CancelledError as error:
            if task.cancelling() > cancelled_before:
                raise
            raise HandlerCancelled(f"{handler.name} was not cancelled, but something it waited for was") from error
        except (Exception, GeneratorExit):
            raise
        except BaseException as error:
            raise HandlerExit(handler.name, error) from error
        if task.cancelling() > cancelled_before:
            # The handler swallowed a cancellation; a cancelled attempt has no result.
            raise asyncio.CancelledError
        return result

    async def _result(self, handler: Handler, args: tuple[Any, ...], timeout: timedelta | None) -> Any:
        if not handler.is_async:
            result = await self._in_thread(handler, args, timeout)
            if not isinstance(result, Coroutine):
                return result
            pending = result
        else:
            pending = handler.call(*args)
        return await (self._plainly(pending, handler) if timeout is None else self._within(pending, handler, timeout))

    async def _plainly(self, pending: Any, handler: Handler) -> Any:
        if not isinstance(pending, Coroutine):
            return await pending
        began = time.perf_counter()
        try:
            # Most handlers end without waiting for anything; those need no watching generator.
            yielded = pending.send(None)
        except StopIteration as stop:
            return stop.value
        except GeneratorExit as error:
            # Its own: whoever closes this coroutine does it while it waits.
            raise HandlerExit(handler.name, error) from error
        finally:
            if (took := time.perf_counter() - began) > BLOCKED:
                self._warn(handler.name, took)
        return await _watched(pending, yielded, handler.name, self._warn)

    async def _within(self, pending: Any, handler: Handler, timeout: timedelta) -> Any:
        limit = asyncio.timeout(timeout.total_seconds())
        try:
            async with limit:
                result = await self._plainly(pending, handler)
        except TimeoutError:
            if limit.expired():
                raise HandlerTimeout(f"{handler.name} took longer than {timeout}") from None
            raise
        if limit.expired():
            raise HandlerTimeout(f"{handler.name} took longer than {timeout} and ignored its cancellation")
        return result

    async def _in_thread(self, handler: Handler, args: tuple[Any, ...], timeout: timedelta | None) -> Any:
        free = self._free_threads()
        # The time limit begins with the call: waiting for a thread is not the handler's fault.
        await free.acquire()
        call = anyio.to_thread.run_sync(_in_its_thread, handler, args, limiter=anyio.CapacityLimiter(1))
        thread = asyncio.ensure_future(call)

        def ended(_: object) -> None:
            # Perhaps long after a stop has given up on it; its error is of no use then.
            free.release()
            _ = thread.cancelled() or thread.exception()

        thread.add_done_callback(ended)
        done, _ = await asyncio.wait({thread}, timeout=None if timeout is None else timeout.total_seconds())
        if done:
            return thread.result()
        self._logger.warning("%s overran its timeout of %s; its slot waits for the thread", handler.name, timeout)
        await asyncio.wait({thread})
        raise HandlerTimeout(f"{handler.name} took longer than {timeout}")

    def _free_threads(self) -> asyncio.Semaphore:
        """The threads of this loop; a workflow may be run again in another one."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._threads_free = loop, asyncio.Semaphore(self._threads)
        return self._threads_free

    def _warn(self, name: str, seconds: float) -> None:
        self._logger.warning(
            "handler %s blocked the event loop for %.2f s; make it a plain def, or await what takes so long",
            name,
            seconds,
            extra={"handler": name},
        )


def _in_its_thread(handler: Handler, args: tuple[Any, ...]) -> Any:
    """Call a plain function in its thread."""
    try:
        return handler.call(*args)
    except Exception:
        raise
    except BaseException as error:
        # Here already: the task that waits for the thread would take the loop down with it.
        raise HandlerExit(handler.name, error) from error


@types.coroutine
def _watched(
    pending: Coroutine[Any, Any, Any], yielded: Any, name: str, warn: Callable[[str, float], None]
) -> Generator[Any, Any, Any]:
    """Await the rest of `pending`, and time each stretch in which it does not give the loop back."""
    while True:
        sent: Any = None
        thrown: BaseException | None = None
        try:
            sent = yield yielded
        except GeneratorExit:
            pending.close()
            raise
        except BaseException as error:  # noqa: BLE001 - not handled here: thrown into the handler, as await would
            thrown = error
        began = time.perf_counter()
        try:
            yielded = pending.send(sent) if thrown is None else pending.throw(thrown)
        except StopIteration as stop:
            return stop.value
        except GeneratorExit as error:
            raise HandlerExit(name, error) from error
        finally:
            took = time.perf_counter() - began
            if took > BLOCKED:
                warn(name, took)
