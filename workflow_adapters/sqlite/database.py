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

from workflow.errors import OutcomeUnknown, Unavailable

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
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        writer, reader = await asyncio.to_thread(lambda: (open_file(self.path), open_file(self.path)))
        reader.execute("pragma query_only = on")
        self.partitions = int(reader.execute("select value from meta where key = 'partitions'").fetchone()[0])
        self._threads = [
            threading.Thread(target=self._write_all, args=(writer,), name="workflow-sqlite-write", daemon=True),
            threading.Thread(target=self._read_all, args=(reader,), name="workflow-sqlite-read", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self.signals.open(self._loop)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.signals.close()
        self._jobs.put(None)
        self._reads.put(None)
        threads, self._threads = self._threads, []
        for thread in threads:
            await asyncio.to_thread(thread.join)
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
        connection.execute("pragma optimize")
        connection.close()

    def _read_all(self, connection: sqlite3.Connection) -> None:
        while (job := self._reads.get()) is not None:
            try:
                job.result = job.work(connection)
            except sqlite3.OperationalError as error:
                job.error = Unavailable(f"SQLite: {error}")
            except Exception as error:  # noqa: BLE001 - handed to the caller
                job.error = error
            self._answer([job])
        connection.close()

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
