"""The programs that the tests start as processes of their own: `python -m tests.sqlite.programs NAME ARGUMENTS`."""

import asyncio
import logging
import multiprocessing
import os
import resource
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from tests.e2e.model import Status, Thing
from workflow import BackendNotOpen, Builder, Event, OutboxOptions, Run, RunState, Workflow
from workflow._model.shard import WHOLE
from workflow.protocols import Backend
from workflow_adapters.memory import MemoryBackend
from workflow_adapters.sqlite import SQLiteBackend, signals
from workflow_adapters.sqlite.schema import open_file

HOUR = timedelta(hours=1)


def moving(backend: Backend) -> Workflow[Thing, Status]:
    """A to B to C, by wake-ups alone: whatever is only found by a look now and then is not found in time."""
    builder = Builder("moving", Thing, Status)

    @builder.step(Status.A)
    async def first(run: Run[Thing, Status]) -> Literal[Status.B]:
        return Status.B

    @builder.step(Status.B)
    async def second(run: Run[Thing, Status]) -> Literal[Status.C]:
        return Status.C

    return builder.build(backend, outbox_options=OutboxOptions(polling_frequency=HOUR), sweep_after=HOUR)


def blocked(backend: Backend, seconds: float) -> Workflow[Thing, Status]:
    """A plain function that cannot be cancelled."""
    builder = Builder("blocked", Thing, Status)

    @builder.step(Status.A)
    def block(run: Run[Thing, Status]) -> Literal[Status.B]:
        print("blocking", flush=True)
        time.sleep(seconds)
        return Status.B

    return builder.build(backend)


def opened(path: str) -> Backend:
    return MemoryBackend() if path == "memory" else SQLiteBackend(path)


async def work(path: str) -> None:
    """Consume until killed, woken by datagrams only."""
    signals.SAFETY_NET = 3600.0
    async with SQLiteBackend(path) as backend, moving(backend).running():
        print("ready", flush=True)
        await asyncio.Event().wait()


async def write(path: str, prefix: str) -> None:
    """Trigger as fast as possible, and say what was acknowledged, until killed."""
    async with SQLiteBackend(path) as backend:
        wf = moving(backend)

        async def one(number: int) -> None:
            run_id = await wf.trigger(f"{prefix}-{number}", Thing(text="x" * 3000))
            print(run_id, flush=True)

        for start in range(0, 1_000_000, 20):
            await asyncio.gather(*(one(number) for number in range(start, start + 20)))


async def fork(path: str) -> None:
    """Use the file in a forked child: the parent's backend must refuse, one of its own must work."""
    async with SQLiteBackend(path) as backend:
        wf = moving(backend)
        run_id = await wf.trigger("before")

        def child() -> None:
            for use in (lambda: wf.get(run_id), lambda: wf.trigger("from the fork")):
                try:
                    asyncio.run(_call(use))
                except RuntimeError as error:
                    print("refused", "fork" in str(error), flush=True)
            asyncio.run(_own())

        async def _own() -> None:
            async with SQLiteBackend(path) as own:
                print("own", (await moving(own).get(run_id)).foreign_id, flush=True)

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        while process.is_alive():
            await asyncio.sleep(0.02)
        print("child ended with", process.exitcode, flush=True)
        await wf.trigger("after")
        print("parent", len(await wf.list()), flush=True)


async def _call(use: Callable[[], Awaitable[object]]) -> None:
    await use()


async def fill(path: str) -> None:
    """Run into a limit of the file's size, have it lifted, and go on with what was waiting."""
    async with SQLiteBackend(path) as backend:
        wf = moving(backend)
        await wf.trigger("before")
        limit(os.stat(f"{path}-wal").st_size)
        waiting = asyncio.ensure_future(wf.trigger("during", Thing(text="x" * 200_000)))
        done, _ = await asyncio.wait([waiting], timeout=1)
        print("waits", not done, flush=True)
        limit(resource.RLIM_INFINITY)
        run_id = await waiting
        print("kept", len((await wf.get(run_id)).object.text), flush=True)


async def acknowledge(path: str) -> None:
    """Acknowledge an event while nothing can be written, and again when it can."""
    late = asyncio.Event()

    class Watching(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "acknowledgements wait" in record.getMessage():
                late.set()

    logging.getLogger("workflow.sqlite").addHandler(Watching())
    async with SQLiteBackend(path) as backend:
        stream = backend.event_streamer
        now = datetime.now(UTC)
        about: dict[str, Any] = {"workflow_name": "w", "run_id": "r", "foreign_id": "f"}
        state: dict[str, Any] = {"status": 1, "run_state": RunState.RUNNING, "version": 1, "created_at": now}
        await stream.send([Event(topic="topic", **about, **state)])
        async with stream.receiver("topic", "me", shard=WHOLE) as receiver:
            events = await receiver.receive(10)
            limit(os.stat(f"{path}-wal").st_size)
            await receiver.ack(events)
            await late.wait()
            print("late", flush=True)
            limit(resource.RLIM_INFINITY)
            with closing(sqlite3.connect(path)) as connection:
                while not connection.execute("select * from cursors").fetchall():
                    await asyncio.sleep(0.05)
            print("written", flush=True)


def limit(size: int) -> None:
    """How large a file this program may write."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def read_only(path: str) -> None:
    """Open a file that may not be written, as somebody who is not root."""
    if os.getuid() == 0:
        os.setuid(65534)
    async with SQLiteBackend(path):
        print("opened", flush=True)


async def raises(path: str) -> None:
    async with opened(path) as backend, moving(backend).running() as wf:
        await wf.trigger("key")
        raise ValueError("the body")


async def raises_while_blocked(path: str, seconds: str) -> None:
    async with opened(path) as backend, blocked(backend, float(seconds)).running() as wf:
        await wf.trigger("key")
        await asyncio.sleep(0.5)
        raise ValueError("the body")


async def waits_for_signal(path: str) -> None:
    async with opened(path) as backend, moving(backend).running() as wf:
        run_id = await wf.trigger("key")
        await wf.wait_for("key", Status.C, run_id=run_id)
        print("ready", flush=True)
        await asyncio.Event().wait()


async def waits_for_roles(path: str) -> None:
    """A second workflow of the same name waits for the roles of the first until it is cancelled."""
    async with opened(path) as backend, moving(backend).running():
        other = asyncio.ensure_future(moving(backend).run())
        await asyncio.wait([other], timeout=0.2)
        other.cancel()
        await asyncio.wait([other])
        print("cancelled", other.cancelled(), flush=True)


async def closes_early(path: str) -> None:
    """The backend is closed under the running workflow."""
    backend = opened(path)
    await backend.__aenter__()
    wf = moving(backend)
    try:
        async with wf.running():
            run_id = await wf.trigger("key")
            await wf.wait_for("key", Status.C, run_id=run_id)
            await backend.__aexit__(None, None, None)
    except BackendNotOpen:
        pass  # what a file says; memory goes on as long as its process
    print("closed", flush=True)


async def many(path: str) -> None:
    """Fifty workflows on one backend."""
    from contextlib import AsyncExitStack

    async with opened(path) as backend, AsyncExitStack() as stack:
        wfs = []
        for number in range(50):
            builder = Builder(f"flow {number}", Thing, Status)

            @builder.step(Status.A)
            async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
                return Status.B

            wfs.append(await stack.enter_async_context(builder.build(backend).running()))
        await asyncio.gather(*(wf.trigger("key") for wf in wfs))
        await asyncio.gather(*(wf.wait_for("key", Status.B) for wf in wfs))
        print("all", flush=True)


async def copy(source: str, target: str) -> None:
    """Restore a file in place, by SQLite's own backup: it keeps its inode, and respects the locks of others."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target, timeout=30)) as other:
        one.backup(other)


def open_together(path: str, count: int) -> list[str]:
    """What went wrong when six processes opened each of some fresh files at the same moment."""
    spawning = multiprocessing.get_context("spawn")
    barrier, failures = spawning.Barrier(6), spawning.Queue()
    arguments = (path, count, barrier, failures)
    processes = [spawning.Process(target=_open_each, args=arguments) for _ in range(6)]
    for process in processes:
        process.start()
    found = [failures.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    return [failure for of_one in found for failure in of_one]


def _open_each(path: str, count: int, barrier: object, failures: object) -> None:
    found = []
    for number in range(count):
        barrier.wait(30)  # type: ignore[attr-defined]
        try:
            open_file(Path(f"{path}-{number}")).close()
        except Exception as error:  # noqa: BLE001 - reported to the test
            found.append(str(error))
    failures.put(found)  # type: ignore[attr-defined]


if __name__ == "__main__":
    asyncio.run(globals()[sys.argv[1]](*sys.argv[2:]))
