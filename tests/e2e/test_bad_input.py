"""Nonsense is answered by a clear error that names the argument, and nothing is stored or left half-written."""

import asyncio
import itertools
import math
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

import pytest

from tests.e2e.model import PATIENCE, Status, Thing, waiting
from workflow import (
    BackendNotOpen,
    Builder,
    Decision,
    InvalidObject,
    InvalidPayload,
    RecordNotFound,
    Run,
    ScheduleError,
    StatusNotConfigured,
    Workflow,
)
from workflow.protocols import Backend
from workflow_adapters.conformance import Factory

pytestmark = pytest.mark.usefixtures("tails_do_not_linger")

WF = Workflow[Thing, Status]


Verb = Callable[[WF, Any], Awaitable[object]]


class Stranger(IntEnum):
    A = 1


NO_TEXTS: tuple[tuple[Any, type[Exception]], ...] = (
    ("", ValueError),
    ("x" * 1001, ValueError),
    ("a\0b", ValueError),
    ("a\ud800b", ValueError),
    (None, TypeError),
    (5, TypeError),
    (b"key", TypeError),
)

BY_FOREIGN_ID: dict[str, Verb] = {
    "trigger": lambda wf, bad: wf.trigger(bad),
    "callback": lambda wf, bad: wf.callback(bad, Status.A),
    "wait_for": lambda wf, bad: wf.wait_for(bad, Status.B, timeout=PATIENCE),
    "latest": lambda wf, bad: wf.latest(bad),
    "list": lambda wf, bad: wf.list(foreign_ids=[bad]),
    "schedule": lambda wf, bad: wf.schedule(bad, "@hourly"),
}
BY_RUN_ID: dict[str, Verb] = {
    "trigger": lambda wf, bad: wf.trigger("key", run_id=bad),
    "callback": lambda wf, bad: wf.callback("key", Status.A, run_id=bad),
    "wait_for": lambda wf, bad: wf.wait_for("key", Status.B, run_id=bad, timeout=PATIENCE),
    "get": lambda wf, bad: wf.get(bad),
    "history": lambda wf, bad: wf.history(bad),
    "pause": lambda wf, bad: wf.pause(bad),
    "resume": lambda wf, bad: wf.resume(bad),
    "cancel": lambda wf, bad: wf.cancel(bad),
    "delete_data": lambda wf, bad: wf.delete_data(bad),
}


@pytest.mark.parametrize(("bad", "kind"), NO_TEXTS, ids=lambda value: ascii(value)[:12])
async def test_a_foreign_id_that_cannot_be_kept_is_refused_by_every_verb(
    backend: Backend, bad: Any, kind: type[Exception]
) -> None:
    wf = waiting("ids").build(backend)
    for verb in BY_FOREIGN_ID.values():
        with pytest.raises(kind, match="foreign_id"):
            async with asyncio.timeout(10):
                await verb(wf, bad)
    assert not await wf.list()


@pytest.mark.parametrize(("bad", "kind"), NO_TEXTS, ids=lambda value: ascii(value)[:12])
async def test_a_run_id_that_cannot_be_kept_is_refused_by_every_verb(
    backend: Backend, bad: Any, kind: type[Exception]
) -> None:
    wf = waiting("ids").build(backend)
    for name, verb in BY_RUN_ID.items():
        if bad is None and name in ("trigger", "callback", "wait_for"):
            continue  # there, None means that no run ID is given
        with pytest.raises(kind, match="run_id"):
            async with asyncio.timeout(10):
                await verb(wf, bad)
    assert not await wf.list()


async def test_ids_may_be_as_long_as_promised_and_hold_any_character(backend: Backend) -> None:
    wf = waiting("long").build(backend)
    for key in ("x" * 1000, "ü" * 500, "a,b;'\"\\%_\n\t", "😀", " "):
        run_id = await wf.trigger(key, run_id=f"run of {key}"[:250])
        assert (await wf.latest(key)).run_id == run_id
        assert [run.foreign_id for run in await wf.list(foreign_ids=[key])] == [key]
        await wf.callback(key, Status.A, b"x", run_id=run_id)
        assert (await wf.get(run_id)).status is Status.B


@pytest.mark.parametrize("verb", [*BY_RUN_ID][1:])
async def test_a_run_that_does_not_exist_is_named(backend: Backend, verb: str) -> None:
    wf = waiting("unknown").build(backend)
    with pytest.raises(RecordNotFound, match="no-such-run") as caught:
        await BY_RUN_ID[verb](wf, "no-such-run")
    assert caught.value.run_id == "no-such-run"
    assert isinstance(caught.value, LookupError)


async def test_a_run_of_another_workflow_is_not_found(backend: Backend) -> None:
    mine, other = waiting("mine").build(backend), waiting("other").build(backend)
    run_id = await other.trigger("key")
    for verb in [*BY_RUN_ID][1:]:
        with pytest.raises(RecordNotFound):
            await BY_RUN_ID[verb](mine, run_id)
    with pytest.raises(RecordNotFound) as caught:
        await mine.latest("key")
    assert (caught.value.workflow_name, caught.value.foreign_id) == ("mine", "key")


@pytest.mark.parametrize("status", [Stranger.A, 1, "A", None], ids=repr)
async def test_a_status_of_another_enum_is_no_status_even_if_it_is_equal(backend: Backend, status: Any) -> None:
    wf = waiting("strangers").build(backend)
    strangers: Any = [status]
    await wf.trigger("there")
    attempts: tuple[Verb, ...] = (
        lambda wf, status: wf.callback("there", status),
        lambda wf, status: wf.wait_for("there", status, timeout=PATIENCE),
    )
    for attempt in attempts:
        with pytest.raises(StatusNotConfigured) as caught:
            await attempt(wf, status)
        assert caught.value.status is status
        assert caught.value.workflow_name == "strangers"
    if status is not None:
        with pytest.raises(StatusNotConfigured):
            await wf.trigger("key", starting_point=status)
    with pytest.raises((StatusNotConfigured, TypeError), match="status"):
        await wf.list(statuses=strangers)
    assert len(await wf.list()) == 1


@pytest.mark.parametrize("start_at", [datetime(2030, 1, 1), "tomorrow", 5], ids=repr)
async def test_a_start_that_is_no_moment_is_refused(backend: Backend, start_at: Any) -> None:
    wf = waiting("starts").build(backend)
    with pytest.raises((TypeError, ValueError), match="start_at"):
        await wf.trigger("key", start_at=start_at)
    assert not await wf.list()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"count": 1}, "expected an object of type Thing, got dict"),
        (Thing(count="many"), "count"),  # type: ignore[arg-type]
        (Thing(text="\ud800"), "surrogates"),
        (Thing(count=math.nan), "count"),  # type: ignore[arg-type]
        (Thing(text=object()), "object"),  # type: ignore[arg-type]
        (5, "got int"),
    ],
    ids=["dict", "field", "surrogate", "nan", "object", "int"],
)
async def test_an_initial_value_that_a_handler_could_not_read_is_refused(
    backend: Backend, value: Any, why: str
) -> None:
    wf = waiting("values").build(backend)
    with pytest.raises(InvalidObject, match=why) as caught:
        await wf.trigger("key", value)
    assert caught.value.workflow_name == "values"
    with pytest.raises(InvalidObject, match=why):
        await wf.schedule("key", "@hourly", initial_value=value)
    assert not await wf.list()


async def test_a_large_object_is_kept_whole(backend: Backend) -> None:
    wf = waiting("large").build(backend)
    text = "0123456789abcdef" * 500_000
    run_id = await wf.trigger("key", Thing(text=text))
    assert (await wf.get(run_id)).object.text == text
    await wf.callback("key", Status.A, b"\0 any bytes are text here")
    assert (await wf.get(run_id)).object.text == "\0 any bytes are text here"


async def test_a_payload_that_cannot_be_written_changes_nothing(backend: Backend) -> None:
    """Text is refused too: it may be meant as bytes, or as JSON."""
    wf = waiting("payloads").build(backend)
    run_id = await wf.trigger("key")
    payloads = (
        ("text", "not str"),
        (object(), "type object"),
        ({"a": object()}, "type object"),
        (["\ud800"], "surrogates"),
    )
    for payload, why in payloads:
        with pytest.raises(InvalidPayload, match=why) as caught:
            await wf.callback("key", Status.A, payload)
        assert caught.value.status is Status.A
        assert caught.value.foreign_id == "key"
    assert (await wf.get(run_id)).version == 1


async def test_who_steers_a_run_and_at_which_version_is_checked_before_anything_is_written(backend: Backend) -> None:
    wf = waiting("actors").build(backend)
    run_id = await wf.trigger("key")
    wrong: tuple[dict[str, Any], ...] = (
        {"actor": None},
        {"actor": 5},
        {"actor": "a\0b"},
        {"actor": "\ud800"},
        {"actor": "x" * 1001},
        {"version": 0},
        {"version": "1"},
        {"version": True},
    )
    verbs: tuple[Callable[..., Awaitable[object]], ...] = (wf.pause, wf.resume, wf.cancel, wf.delete_data)
    for verb, arguments in itertools.product(verbs, wrong):
        with pytest.raises((TypeError, ValueError), match=next(iter(arguments))):
            await verb(run_id, **arguments)
    for arguments in wrong[:5]:
        with pytest.raises((TypeError, ValueError), match="actor"):
            await wf.callback("key", Status.A, **arguments)
    assert (await wf.get(run_id)).version == 1


async def test_a_reason_is_text_that_can_be_kept(backend: Backend) -> None:
    wf = waiting("reasons").build(backend)
    run_id = await wf.trigger("key")
    reasons: tuple[Any, ...] = (None, 5, b"because", "a\0b", "\ud800")
    for verb, reason in itertools.product((wf.pause, wf.cancel, wf.delete_data), reasons):
        with pytest.raises((TypeError, ValueError), match="reason"):
            await verb(run_id, reason)
    assert (await wf.get(run_id)).version == 1


BAD_SCHEDULES: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
    ({"spec": "61 * * * *"}, ScheduleError, "minute"),
    ({"spec": "0 0 30 2 *"}, ScheduleError, "no such day"),
    ({"spec": "@fortnightly"}, ScheduleError, "fortnightly"),
    ({"spec": ""}, ScheduleError, "5 fields"),
    ({"spec": None}, ScheduleError, "text"),
    ({"spec": "@every -1h"}, ScheduleError, "duration"),
    ({"spec": "@every 9999999h"}, ScheduleError, "too long"),
    ({"spec": "@hourly", "timezone": "Mars/Base"}, ScheduleError, "Mars/Base"),
    ({"spec": "@hourly", "timezone": None}, ScheduleError, "time zone"),
    ({"spec": "@hourly", "filter": 5}, TypeError, "filter"),
    ({"spec": "@hourly", "filter": lambda run: True}, TypeError, "filter"),
)


async def test_an_impossible_schedule_is_refused_at_the_call(backend: Backend) -> None:
    """R-SCHED-1: whether the workflow runs or not."""
    wf = waiting("schedules").build(backend)

    async def refused() -> None:
        for arguments, kind, why in BAD_SCHEDULES:
            with pytest.raises(kind, match=why) as caught:
                await asyncio.wait_for(wf.schedule("key", **arguments), 10)
            assert isinstance(caught.value, ValueError | TypeError)

    await refused()
    async with wf.running():
        await refused()


@pytest.mark.parametrize("drain", [5, None, timedelta(seconds=-1)], ids=repr)
async def test_a_drain_is_a_duration(backend: Backend, drain: Any) -> None:
    wf = waiting("draining").build(backend)
    async with wf.running():
        with pytest.raises((TypeError, ValueError), match="drain"):
            await wf.stop(drain)
        await wf.trigger("key")
        await wf.callback("key", Status.A)
        await wf.wait_for("key", Status.B, timeout=PATIENCE)


VERBS: dict[str, Callable[[WF], Awaitable[object]]] = {
    "trigger": lambda wf: wf.trigger("key"),
    "callback": lambda wf: wf.callback("key", Status.A),
    "wait_for": lambda wf: wf.wait_for("key", Status.B),
    "get": lambda wf: wf.get("run"),
    "latest": lambda wf: wf.latest("key"),
    "list": lambda wf: wf.list(),
    "history": lambda wf: wf.history("run"),
    "pause": lambda wf: wf.pause("run"),
    "resume": lambda wf: wf.resume("run"),
    "cancel": lambda wf: wf.cancel("run"),
    "delete_data": lambda wf: wf.delete_data("run"),
    "schedule": lambda wf: wf.schedule("key", "@every 1ms"),
    "run": lambda wf: wf.run(),
}


@pytest.mark.backends("sqlite", "postgres")
@pytest.mark.parametrize("verb", [*VERBS])
async def test_a_backend_that_is_not_open_is_said_to_be_so_at_once(factory: Factory, verb: str) -> None:
    backend = factory.backend()
    wf = waiting("closed").build(backend)
    with pytest.raises(BackendNotOpen, match="async with"):
        await asyncio.wait_for(VERBS[verb](wf), 10)
    async with backend:
        run_id = await wf.trigger("key")
        assert (await wf.get(run_id)).status is Status.A
    with pytest.raises(BackendNotOpen, match="async with"):
        await asyncio.wait_for(VERBS[verb](wf), 10)
    async with backend:
        assert (await wf.get(run_id)).status is Status.A


@pytest.mark.backends("sqlite", "postgres")
async def test_a_workflow_whose_backend_is_left_ends_with_an_error(factory: Factory) -> None:
    wf = waiting("left").build(backend := factory.backend())
    async with backend:
        running = asyncio.create_task(wf.run())
        while not wf.states():
            await asyncio.sleep(0.01)
    with pytest.raises(BackendNotOpen):
        await asyncio.wait_for(running, 20)
    assert {str(state) for state in wf.states().values()} == {"Shutdown"}


@pytest.mark.parametrize("reason", [None, 7, "a\0b", "\ud800"], ids=repr)
async def test_a_decision_with_an_impossible_reason_fails_its_attempt(backend: Backend, reason: Any) -> None:
    builder = Builder("deciding", Thing, Status)

    @builder.step(Status.A, to=Status.B)
    async def decide(run: Run[Thing, Status]) -> Status | Decision:
        return run.pause(reason) if run.attempt == 1 else Status.B

    wf = builder.build(backend)
    async with wf.running():
        run_id = await wf.trigger("key")
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert re.search("reason must (not )?be|reason must not contain", (await wf.history(run_id))[1].last_error)
