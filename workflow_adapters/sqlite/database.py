"""One file, opened by one process: a thread that writes, a thread that reads, and wake-ups for whoever waits.

The writing thread takes everything that waits into one transaction, each job under a savepoint of its own, and commits
once: so triggers, steps, sends and acknowledgements of a busy process share one fsync. Cancelling a caller never
cuts a job. Reads have a connection of their own, so that they do not wait behind writes.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from workflow.errors import OutcomeUnknown, Unavailable, WorkflowError

from .schema import open_file
from .signals import Signals

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

JOBS = 64
"""Jobs that share one transaction."""


class _Job:
    __slots__ = ("alone", "error", "future", "result", "wakes", "work")

    def __init__(self, work: Work[Any], wakes: Sequence[str], alone: bool, future: "asyncio.Future[Any]") -> None:
        self.work, self.wakes, self.alone, self.future = work, wakes, alone, future
        self.result: Any = None
        self.error: BaseException | None = None


class Database:
    """The open file. An async context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.signals = Signals(path)
        self.partitions = 0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._reads: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[tuple[threading.Thread, asyncio.Future[None]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._jobs, self._reads = queue.SimpleQueue(), queue.SimpleQueue()
        try:
            await self._start(self._write_all, "workflow-sqlite-write")
            await self._start(self._read_all, "workflow-sqlite-read")
        except BaseException:
            await self._stop()
            raise
        self.signals.open(self._loop)
        self.partitions = await self.read(_partitions)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.signals.close()
        await self._stop()

    async def _start(self, serve: Callable[[sqlite3.Connection], None], name: str) -> None:
        """Start a thread that opens a connection of its own and serves jobs until it is told to end."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        ended: asyncio.Future[None] = loop.create_future()

        def run() -> None:
            try:
                connection = open_file(self.path)
            except WorkflowError as error:
                loop.call_soon_threadsafe(ready.set_exception, error)
                loop.call_soon_threadsafe(ended.set_result, None)
                return
            loop.call_soon_threadsafe(ready.set_result, None)
            try:
                serve(connection)
            finally:
                connection.close()
                if not loop.is_closed():
                    loop.call_soon_threadsafe(ended.set_result, None)

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append((thread, ended))
        thread.start()
        await ready

    async def _stop(self) -> None:
        self._jobs.put(None)
        self._reads.put(None)
        threads, self._threads = self._threads, []
        for thread, ended in threads:
            await ended
            thread.join()
        self._loop = None

    async def write(self, work: Work[T], *, wakes: Sequence[str] = (), alone: bool = False) -> T:
        """Run `work(connection)` in a transaction; durable on return. Then wake those who wait for `wakes`.

        With `alone` it shares its transaction with nobody.

        Raises:
            Unavailable: the file is locked or cannot be written; nothing was.
            OutcomeUnknown: the commit itself failed.
            Exception: whatever `work` raised; what it wrote is undone.
        """
        return await self._submit(self._jobs, work, wakes, alone)

    async def read(self, work: Work[T]) -> T:
        """Run `work(connection)` on the reading connection."""
        return await self._submit(self._reads, work, (), False)

    async def _submit(
        self, jobs: "queue.SimpleQueue[_Job | None]", work: Work[T], wakes: Sequence[str], alone: bool
    ) -> T:
        if self._loop is None:
            raise Unavailable(f"SQLite file {str(self.path)!r} is not open: use `async with` on the backend")
        future: asyncio.Future[T] = self._loop.create_future()
        jobs.put(_Job(work, wakes, alone, future))
        return await future

    def _write_all(self, connection: sqlite3.Connection) -> None:
        left: _Job | None = None
        while True:
            job = left or self._jobs.get()
            left = None
            if job is None:
                break
            batch = [job]
            while not job.alone and len(batch) < JOBS and not self._jobs.empty():
                following = self._jobs.get()
                if following is None or following.alone:
                    left = following
                    if following is None:
                        self._jobs.put(None)
                    break
                batch.append(following)
            _transact(connection, batch)
            self._answer(batch)

    def _read_all(self, connection: sqlite3.Connection) -> None:
        connection.execute("pragma query_only = on")
        while (job := self._reads.get()) is not None:
            try:
                job.result = job.work(connection)
            except sqlite3.OperationalError as error:
                job.error = Unavailable(f"SQLite: {error}")
            except Exception as error:  # noqa: BLE001 - handed to the caller
                job.error = error
            self._answer([job])

    def _answer(self, jobs: list[_Job]) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._resolve, jobs)

    def _resolve(self, jobs: list[_Job]) -> None:
        wakes: set[str] = set()
        for job in jobs:
            if job.error is None:
                wakes.update(job.wakes)
            if job.future.done():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
        for kind in wakes:
            self.signals.send(kind)


def _partitions(connection: sqlite3.Connection) -> int:
    return int(connection.execute("select value from meta where key = 'partitions'").fetchone()[0])


def _transact(connection: sqlite3.Connection, jobs: list[_Job]) -> None:
    """Run the jobs in one transaction; a job that fails is undone alone."""
    try:
        connection.execute("begin immediate")
    except sqlite3.OperationalError as error:
        _fail(jobs, Unavailable(f"SQLite: {error}"))
        return
    for job in jobs:
        connection.execute("savepoint job")
        try:
            job.result = job.work(connection)
        except Exception as error:  # noqa: BLE001 - handed to the caller
            connection.execute("rollback to job")
            busy = isinstance(error, sqlite3.OperationalError)
            job.error = Unavailable(f"SQLite: {error}") if busy else error
        connection.execute("release job")
    try:
        connection.execute("commit")
    except sqlite3.OperationalError as error:
        undone = connection.in_transaction
        if undone:
            connection.execute("rollback")
        _fail(jobs, Unavailable(f"SQLite: {error}") if undone else OutcomeUnknown(f"SQLite: {error}"))


def _fail(jobs: list[_Job], error: Exception) -> None:
    for job in jobs:
        job.error = error
