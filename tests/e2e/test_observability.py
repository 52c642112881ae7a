"""What the engine tells Prometheus, logs and OpenTelemetry while it works."""

import asyncio
import json
import logging
from datetime import datetime, timedelta
from io import StringIO
from typing import Any, Literal

import pytest
from msgspec.structs import replace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from tests.e2e.model import PATIENCE, Status, Thing
from workflow import Builder, Decision, Options, ProcessState, Run, RunState, Unavailable, Workflow
from workflow.protocols import Backend
from workflow.testing import FakeClock, await_timeout_insert, wait_for
from workflow_adapters.logging import JSONFormatter
from workflow_adapters.memory import MemoryBackend

QUICK = Options(err_back_off=timedelta(milliseconds=5))
STEP = "a-consumer-1-of-1"
SKIPPED = "process_skipped_events_count_total"


def working(name: str = "observed") -> Builder[Thing, Status]:
    """Fails once, skips, pauses or goes on, as the foreign ID says."""
    builder = Builder(name, Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B] | Decision:
        if run.foreign_id == "fails" and run.attempt == 1:
            raise RuntimeError("once")
        if run.foreign_id == "skips":
            return run.skip()
        if run.foreign_id == "pauses":
            return run.pause("for a while")
        return Status.B

    @builder.step(Status.B)
    async def more(run: Run[Thing, Status]) -> Literal[Status.C]:
        return Status.C

    return builder


class Samples:
    """The values of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

    def __call__(self, name: str, workflow: str = "observed", **labels: str) -> float | None:
        return self.registry.get_sample_value(f"workflow_{name}", {"workflow_name": workflow, **labels})

    def changes(self, workflow: str = "observed") -> dict[tuple[str, str], float]:
        """How often which run state followed which."""
        return {
            (sample.labels["previous_run_state"], sample.labels["current_run_state"]): sample.value
            for metric in self.registry.collect()
            if metric.name == "workflow_run_state_changes"
            for sample in metric.samples
            if sample.name.endswith("_total") and sample.labels["workflow_name"] == workflow
        }


async def test_every_metric_of_a_run_is_told_once(backend: Backend) -> None:
    """R-METRIC-1 to R-METRIC-8, R-TRIGGER-11, R-CONSUME-6, R-STEP-11, W-50: committed only."""
    registry = CollectorRegistry()
    told = Samples(registry)
    wf = working().build(backend, registry=registry, default_options=QUICK)
    async with wf.running():
        for key in ("plain", "fails", "skips", "pauses"):
            await wf.trigger(key)
        for key in ("plain", "fails"):
            await wf.wait_for(key, Status.C, timeout=PATIENCE)
        await wait_for(wf, "pauses", lambda run: run.run_state is RunState.PAUSED, timeout=PATIENCE)
        async with asyncio.timeout(20):
            while told(SKIPPED, process_name=STEP, reason="next value specified skip") != 1:
                await asyncio.sleep(0.01)
        assert told("process_states", process_name=STEP) == ProcessState.RUNNING
        assert told("process_error_count_total", process_name=STEP) == 1
        async with asyncio.timeout(20):
            while told("process_latency_seconds_count", process_name="b-consumer-1-of-1") != 2:
                await asyncio.sleep(0.01)
        assert told("process_lag_seconds", process_name=STEP) is not None
        assert told("process_lag_alert", process_name=STEP) == 0
        assert told.changes() == {
            ("Unknown", "Initiated"): 4,
            ("Initiated", "Running"): 2,  # the failure of one, the first step of another
            ("Running", "Running"): 1,
            ("Running", "Completed"): 2,
            ("Initiated", "Paused"): 1,
        }
    assert told("process_states", process_name=STEP) == ProcessState.SHUTDOWN
    text = generate_latest(registry).decode()
    assert "# HELP workflow_process_lag_seconds lag between now and the current event timestamp in seconds" in text
    assert 'le="300.0"' in text


async def test_w29_nothing_is_counted_that_was_not_committed() -> None:
    """W-29."""
    backend = MemoryBackend()
    registry = CollectorRegistry()
    wf = working().build(backend, registry=registry)

    async def refuse(changes: Any) -> Any:
        raise ValueError("refused")

    store = backend.record_store.store
    backend.record_store.store = refuse  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="refused"):
        await wf.trigger("key")
    backend.record_store.store = store  # type: ignore[method-assign]
    assert Samples(registry).changes() == {}
    run_id = await wf.trigger("key")
    assert Samples(registry).changes() == {("Unknown", "Initiated"): 1}
    assert (await wf.get(run_id)).version == 1


async def test_two_workflows_and_two_engines_share_a_registry_or_have_their_own(backend: Backend) -> None:
    """W-50: nothing is registered globally."""
    shared = CollectorRegistry()
    one = working("one").build(backend, registry=shared)
    two = working("two").build(backend, registry=shared)
    again = working("one").build(backend, registry=shared)
    private = working("private").build(backend)
    async with one.running(), two.running(), private.running():
        for wf in (one, two, again, private):
            await wf.trigger(f"of {id(wf)}")
            await wf.wait_for(f"of {id(wf)}", Status.C, timeout=PATIENCE)
    await again._engine.news.close()
    told = Samples(shared)
    assert told.changes("one")[("Unknown", "Initiated")] == 2
    assert told.changes("two")[("Unknown", "Initiated")] == 1
    assert told.changes("private") == {}
    assert b"workflow_process" not in generate_latest(REGISTRY)


async def test_lag_is_told_by_the_engines_clock_and_falls_to_nothing() -> None:
    """R-OUTBOX-8, R-CONSUME-3, R-OPTTAB-5, R-OPTTAB-8, R-TEST-4, W-50."""
    clock = FakeClock()
    backend = MemoryBackend()
    registry = CollectorRegistry()
    seen: list[tuple[float | None, float | None]] = []
    told = Samples(registry)
    front = working().build(backend, clock=clock)
    await front.trigger("key")
    clock.advance(timedelta(hours=1))
    builder = Builder("observed", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        seen.append((told("process_lag_seconds", process_name=STEP), told("process_lag_alert", process_name=STEP)))
        return Status.B

    wf = builder.build(backend, clock=clock, registry=registry)
    async with wf.running():
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
        async with asyncio.timeout(20):
            while told("process_lag_seconds", process_name="outbox-consumer") != 0:
                await asyncio.sleep(0.01)
            while told("process_lag_seconds", process_name=STEP) != 0:
                await asyncio.sleep(0.01)
    assert seen == [(3600, 1)]


def texts(caplog: pytest.LogCaptureFixture, level: int = logging.DEBUG) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


async def test_debug_lines_appear_only_when_they_are_asked_for(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    """R-LOG-2, R-LOG-4, R-OPT-8, R-PROC-6, R-STEP-7, R-TIMEOUT-7, R-CALLBACK-8, R-TIMEOUT-10."""
    clock = FakeClock()

    def build(**arguments: Any) -> Workflow[Thing, Status]:
        builder = working("debugged")

        @builder.callback(Status.A)
        async def called(run: Run[Thing, Status], payload: bytes) -> Decision:
            return run.skip()

        @builder.timeout(Status.A, timedelta(hours=1))
        async def expired(run: Run[Thing, Status], now: datetime) -> Decision:
            return run.skip()

        return builder.build(backend, clock=clock, **arguments)

    with caplog.at_level(logging.DEBUG, logger="workflow"):
        wf = build()
        async with wf.running():
            await wf.trigger("plain")
            await wf.wait_for("plain", Status.C, timeout=PATIENCE)
        assert not texts(caplog)

        logger = logging.getLogger("workflow.of.mine")
        wf = build(debug=True, logger=logger)
        async with wf.running():
            run_id = await wf.trigger("skips")
            await await_timeout_insert(wf, "skips", run_id, Status.A, timeout=PATIENCE)
            await wf.callback("skips", Status.A)
            await wf.pause(run_id)
            clock.advance(timedelta(hours=1))
            wanted = "Skipping processing of timeout of stopped workflow record"
            async with asyncio.timeout(20):
                while wanted not in texts(caplog):
                    await asyncio.sleep(0.01)
        assert texts(caplog).count("shutting down process") == len(wf.states())
        assert "skipping update" in texts(caplog)
        record = next(record for record in caplog.records if record.getMessage() == wanted)
        assert record.name == "workflow.of.mine"


async def test_lines_about_a_run_carry_its_ids_and_can_be_written_as_json(backend: Backend) -> None:
    """R-LOG-1, R-LOG-3."""
    output = StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(JSONFormatter())
    logger = logging.getLogger("workflow.lines")
    logger.addHandler(handler)
    try:
        wf = working().build(backend, logger=logger, default_options=QUICK)
        async with wf.running():
            run_id = await wf.trigger("fails")
            await wf.wait_for("fails", Status.C, timeout=PATIENCE)
    finally:
        logger.removeHandler(handler)
    line = next(line for line in map(json.loads, output.getvalue().splitlines()) if "attempt 1 failed" in line["msg"])
    assert line["level"] == "WARNING"
    assert (line["run_id"], line["foreign_id"], line["workflow"]) == (run_id, "fails", "observed")
    assert (line["status"], line["process_name"]) == ("A", STEP)
    assert "RuntimeError: once" in line["exception"]


async def test_spans_of_steps_callbacks_timeouts_and_hooks_link_to_the_trigger(backend: Backend) -> None:
    """In another process, too: the context travels with the record."""
    clock = FakeClock()
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    builder = Builder("traced", Thing, Status)
    hooked = asyncio.Event()

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        if run.attempt == 1:
            raise RuntimeError("once")
        return Status.B

    @builder.callback(Status.B)
    async def called(run: Run[Thing, Status], payload: bytes) -> Literal[Status.C]:
        return Status.C

    @builder.timeout(Status.C, timedelta(hours=1))
    async def expired(run: Run[Thing, Status], now: datetime) -> Literal[Status.D]:
        return Status.D

    @builder.on_complete
    async def done(run: Run[Thing, Status]) -> None:
        hooked.set()

    def build() -> Workflow[Thing, Status]:
        options = Options(err_back_off=timedelta(0))
        return builder.build(backend, tracer_provider=provider, clock=clock, default_options=options)

    front, worker = build(), build()
    tracer = provider.get_tracer("app")
    with tracer.start_as_current_span("request") as request:
        run_id = await front.trigger("key")
    async with worker.running():
        await worker.wait_for("key", Status.B, timeout=PATIENCE)
        with tracer.start_as_current_span("webhook") as webhook:
            await front.callback("key", Status.B)
        await await_timeout_insert(worker, "key", run_id, Status.C, timeout=PATIENCE)
        clock.advance(timedelta(hours=1))
        await asyncio.wait_for(hooked.wait(), 20)
    spans = [span for span in exporter.get_finished_spans() if span.name not in ("request", "webhook")]
    assert [span.name for span in spans] == ["step A", "step A", "callback B", "timeout C", "hook D"]
    for span in spans:
        assert [link.context.span_id for link in span.links] == [request.get_span_context().span_id]
        assert (span.attributes or {})["workflow.run_id"] == run_id
    assert spans[0].status.status_code is StatusCode.ERROR
    assert spans[2].parent is not None
    assert spans[2].parent.span_id == webhook.get_span_context().span_id
    assert spans[0].parent is None


async def test_events_that_need_no_work_are_counted_by_their_reason(backend: Backend) -> None:
    """R-CONSUME-4, R-CONSUME-8, R-STEP-2, R-STEP-3, R-STEP-4, R-STEP-7, R-STEP-8, R-METRIC-6, W-21: never handled."""
    registry = CollectorRegistry()
    told = Samples(registry)
    builder = Builder("observed", Thing, Status)
    calls: list[str] = []

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        calls.append(run.foreign_id)
        return Status.B

    front = builder.build(backend)
    wf = builder.build(backend, registry=registry, pause_retry=None)
    engine = front._engine
    paused = await front.trigger("paused")
    await front.pause(paused)
    versions = await backend.record_store.history(paused)
    event = engine.transitions.event(versions[0])
    unknown = replace(event, run_id="nobody")
    others = replace(event, workflow_name="another workflow")
    now = replace(event, version=2)
    await backend.event_streamer.send([event, unknown, others, now])
    async with wf.running():
        await wf.trigger("plain")
        await wf.wait_for("plain", Status.B, timeout=PATIENCE)
        reasons = (
            "event record version lower than latest record version",
            "record not found",
            "filtered out",
            "record stopped",
        )
        async with asyncio.timeout(20):
            for reason in reasons:
                while not told(SKIPPED, process_name=STEP, reason=reason):
                    await asyncio.sleep(0.01)
    assert calls == ["plain"]


async def test_each_call_of_a_timeout_is_timed_whatever_comes_of_it(backend: Backend) -> None:
    """R-TIMEOUT-12, R-METRIC-4."""
    clock, registry = FakeClock(), CollectorRegistry()
    told = Samples(registry)
    builder = Builder("observed", Thing, Status)

    @builder.timeout(Status.A, timedelta(hours=1))
    async def expired(run: Run[Thing, Status], now: datetime) -> Literal[Status.B]:
        if run.attempt == 1:
            raise RuntimeError("once")
        return Status.B

    options = Options(err_back_off=timedelta(0))
    wf = builder.build(backend, clock=clock, registry=registry, default_options=options)
    async with wf.running():
        run_id = await wf.trigger("key")
        await await_timeout_insert(wf, "key", run_id, Status.A, timeout=PATIENCE)
        clock.advance(timedelta(hours=1))
        await wf.wait_for("key", Status.B, timeout=PATIENCE)
        assert told("process_error_count_total", process_name="a-timeout-consumer") == 1
        assert told("process_latency_seconds_count", process_name="a-timeout-consumer") == 2


async def test_an_outage_is_no_failure_of_a_step() -> None:
    """R-STEP-10, R-UPDATE-5: the result waits for the store, and the handler does not run again."""
    backend = MemoryBackend()
    store, outages = backend.record_store.store, [Unavailable("one"), Unavailable("two")]
    calls: list[int] = []

    async def failing(changes: Any) -> Any:
        if calls and outages:
            raise outages.pop()
        return await store(changes)

    backend.record_store.store = failing  # type: ignore[method-assign]
    builder = Builder("outage", Thing, Status)

    @builder.step(Status.A)
    async def work(run: Run[Thing, Status]) -> Literal[Status.B]:
        calls.append(run.attempt)
        return Status.B

    wf = builder.build(backend)
    async with wf.running():
        await wf.trigger("key")
        run = await wf.wait_for("key", Status.B, timeout=PATIENCE)
    assert (run.version, run.last_error, calls, outages) == (2, "", [1], [])
