"""One file, opened by one process: a thread that writes, a thread that reads, and wake-ups for whoever waits.

The writing thread takes everything that waits into one transaction, each job under a savepoint of its own, and commits
once: so triggers, steps, sends and acknowledgements of a busy process share one fsync. Cancelling a caller never
cuts a job. Reads have a connection of their own, so that they do not wait behind writes.
"""

import asyncio
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar

from workflow.errors import BackendNotOpen, OutcomeUnknown, Unavailable

from ..kit.text import described
from .jobs import Job, Work, fail, perform, transact
from .log_file import empty_log
from .named_file import NamedFile
from .on_commit import GuardedConnection
from .signals import Signals

__all__ = ["Database", "Work"]

T = TypeVar("T")
Jobs = queue.SimpleQueue[Job | None]

_log = logging.getLogger("workflow.sqlite")

EMPTY_EVERY = 1.0
"""Seconds between tries to empty the write-ahead log of what was erased."""

BATCH = 64
"""Jobs that share one transaction, or one answer."""


class Database:
    """The open file. An async context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.signals = Signals(path)
        self._file = NamedFile(path)
        self._log_is_stale = False
        self.partitions = 0
        self._jobs: Jobs = queue.SimpleQueue()
        self._reads: Jobs = queue.SimpleQueue()
        self._threads: list[tuple[threading.Thread, asyncio.Future[None]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watching: asyncio.Task[None] | None = None
        self._process = 0

    async def __aenter__(self) -> Self:
        self._jobs, self._reads = queue.SimpleQueue(), queue.SimpleQueue()
        self._file, self._log_is_stale = NamedFile(self.path), False
        try:
            await self._start(self._write_all, "workflow-sqlite-write")
            await self._start(self._read_all, "workflow-sqlite-read")
        except BaseException:
            await self._stop()
            raise
        self._loop, self._process = asyncio.get_running_loop(), os.getpid()
        self.signals.open(self._loop)
        self.partitions = await self.read(_partitions)
        self._watching = self._loop.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._loop is not None and self._process != os.getpid():
            # A forked copy: threads, connections and the socket are the parent's, and must be left alone.
            return
        self._loop = None
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._log_is_stale:
            # At the last moment, for the others who keep the file open; who closes it last removes the log.
            job = Job(self._empty_log, asyncio.get_running_loop().create_future(), bare=True)
            job.future.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._jobs.put(job)
        await self._stop()
        self.signals.close()

    async def _start(self, serve: Callable[[sqlite3.Connection], None], name: str) -> None:
        """Start a thread that opens a connection of its own and serves jobs until it is told to end."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        ended: asyncio.Future[None] = loop.create_future()

        def run() -> None:
            try:
                connection = self._file.connect()
            except BaseException as error:  # noqa: BLE001 - raised where the backend is entered
                _tell(loop, ready, error)
                _tell(loop, ended)
                return
            _tell(loop, ready)
            try:
                serve(connection)
            finally:
                connection.close()
                _tell(loop, ended)

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

    async def write(
        self, work: Work[T], *, wakes: Sequence[tuple[str, str]] = (), alone: bool = False, lazy: bool = False
    ) -> T:
        """Run `work(connection)` in a transaction; durable on return. Then wake who waits for these kinds and keys.

        With `alone` it shares its transaction with nobody. With `lazy` it survives the end of the process, but a power
        failure may take it back: for what may happen twice.

        Raises:
            Unavailable: the file is locked, cannot be written, or is not the one that was opened; nothing was written.
            OutcomeUnknown: the commit itself failed, or went to a file that was deleted or replaced meanwhile.
            Exception: whatever `work` raised; what it wrote is undone.
        """
        loop = self._open_loop()
        job = Job(work, loop.create_future(), wakes=wakes, alone=alone, lazy=lazy)
        self._jobs.put(job)
        result: T = await job.future
        return result

    async def _do_bare(self, work: Work[None]) -> None:
        """Run `work(connection)` on the writing connection, in no transaction."""
        job = Job(work, self._open_loop().create_future(), bare=True)
        self._jobs.put(job)
        await job.future

    async def read(self, work: Work[T]) -> T:
        """Run `work(connection)` on the reading connection."""
        job = Job(work, self._open_loop().create_future())
        self._reads.put(job)
        result: T = await job.future
        return result

    def _open_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise BackendNotOpen(f"SQLite file {str(self.path)!r} is not open: use `async with` on the backend")
        if self._process != os.getpid():
            raise RuntimeError(
                f"SQLite file {str(self.path)!r} was opened before this process was forked from process "
                f"{self._process}, and cannot be used here: enter a backend of its own after the fork"
            )
        return self._loop

    def _write_all(self, connection: sqlite3.Connection) -> None:
        following: Job | None = None
        while (job := following or self._jobs.get()) is not None:
            batch, following = ([job], None) if job.alone else _together(self._jobs, job)
            self._transact(connection, batch)
            self._answer(batch)

    def _empty_log(self, connection: sqlite3.Connection) -> None:
        # Cleared first: what is erased meanwhile needs another try.
        self._log_is_stale = False
        self._log_is_stale = not empty_log(connection)

    def _transact(self, connection: sqlite3.Connection, batch: list[Job]) -> None:
        if self._file.lost and (lost := self._file.look()):
            fail(batch, Unavailable(lost))
            return
        transact(connection, batch)
        if isinstance(connection, GuardedConnection) and connection.has_erased:
            connection.has_erased, self._log_is_stale = False, True
        if lost := self._file.look():
            # It is written, but where nobody will look for it, unless the file is put back.
            fail(batch, OutcomeUnknown(lost))

    def _read_all(self, connection: sqlite3.Connection) -> None:
        connection.execute("pragma query_only = on")
        following: Job | None = None
        while (job := following or self._reads.get()) is not None:
            batch, following = _together(self._reads, job)
            if self._file.lost and (lost := self._file.look()):
                fail(batch, Unavailable(lost))
            for one in batch:
                if one.error is None:
                    perform(one, connection)
            self._answer(batch)

    def _answer(self, jobs: list[Job]) -> None:
        loop = jobs[0].future.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._resolve, jobs)

    def _resolve(self, jobs: list[Job]) -> None:
        wakes: set[tuple[str, str]] = set()
        for job in jobs:
            if job.error is None:
                wakes.update(job.wakes)
            if job.future.done():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
        for kind, key in wakes:
            self.signals.send(kind, key)

    async def _watch(self) -> None:
        """The safety net: wake those who wait for work when the file has changed since the last look.

        Not the heartbeats: each of them changes the file, and would be the reason for the next.
        """
        seen: int | None = None
        loop = asyncio.get_running_loop()
        emptied = loop.time()
        # Once at first: a process that was killed may have left what it had erased in the log.
        self._log_is_stale = True
        while True:
            await asyncio.sleep(self.signals.look_every)
            try:
                if self._log_is_stale and loop.time() - emptied >= EMPTY_EVERY:
                    emptied = loop.time()
                    await self._do_bare(self._empty_log)
                found = await self.read(self._look)
            except Exception as error:  # noqa: BLE001 - reported; without this look a lost wake-up would be lost for good
                if not self._file.lost:  # that was said once
                    _log.warning("the file cannot be looked at: %s", described(error))
                continue
            if found != seen:
                seen = found
                self.signals.wake_all("outbox", "events", "timeouts", "held callbacks")

    def _look(self, connection: sqlite3.Connection) -> int:
        if lost := self._file.look():
            raise Unavailable(lost)
        return int(connection.execute("pragma data_version").fetchone()[0])


def _tell(loop: asyncio.AbstractEventLoop, future: "asyncio.Future[None]", error: BaseException | None = None) -> None:
    """Settle a future from another thread, if anybody still waits for it."""

    def settle() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)


def _together(jobs: Jobs, first: Job) -> tuple[list[Job], Job | None]:
    """What waits and may be done together with the first job, and a job that was met but must be done alone."""
    batch = [first]
    while len(batch) < BATCH:
        try:
            job = jobs.get_nowait()
        except queue.Empty:
            break
        if job is None:
            # The end, which is met again after this batch.
            jobs.put(None)
            break
        if job.alone:
            return batch, job
        batch.append(job)
    return batch, None


def _partitions(connection: sqlite3.Connection) -> int:
    return int(connection.execute("select value from meta where key = 'partitions'").fetchone()[0])
