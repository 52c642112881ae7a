"""Optional OpenTelemetry: spans linked to the trigger's span, and nothing at all without a provider."""

import asyncio
import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from workflow._engine.tracing import Tracing


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(SimpleSpanProcessor(exporter))
    return made


def test_a_handler_span_is_linked_to_the_span_that_triggered(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    tracing = Tracing(provider)
    with provider.get_tracer("app").start_as_current_span("request") as request:
        headers = tracing.inject()
        with tracing.span("step", attributes={"workflow.run_id": "r"}, link=headers):
            pass
    step = exporter.get_finished_spans()[0]
    assert set(headers) == {"traceparent"}
    assert step.name == "step"
    assert step.kind is SpanKind.CONSUMER
    assert dict(step.attributes or {}) == {"workflow.run_id": "r"}
    assert [link.context.span_id for link in step.links] == [request.get_span_context().span_id]
    assert step.parent is None


def test_a_span_in_a_callers_task_can_be_the_callers_child(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    tracing = Tracing(provider)
    with provider.get_tracer("app").start_as_current_span("request") as request, tracing.span("callback", root=False):
        pass
    callback = exporter.get_finished_spans()[0]
    assert callback.parent is not None
    assert callback.parent.span_id == request.get_span_context().span_id


def test_spans_that_a_handler_makes_are_children_of_its_span(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    tracing = Tracing(provider)
    with tracing.span("step") as step, provider.get_tracer("app").start_as_current_span("query"):
        pass
    query = exporter.get_finished_spans()[0]
    assert step is not None
    assert query.parent is not None
    assert query.parent.span_id == step.get_span_context().span_id


def test_an_exception_is_recorded_and_goes_on(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="no"), Tracing(provider).span("step"):
        raise ValueError("no")
    (step,) = exporter.get_finished_spans()
    assert step.status.status_code is StatusCode.ERROR
    assert [event.name for event in step.events] == ["exception"]


def test_cancellation_is_no_error(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    with pytest.raises(asyncio.CancelledError), Tracing(provider).span("step"):
        raise asyncio.CancelledError
    (step,) = exporter.get_finished_spans()
    assert step.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("link", [{}, None, {"traceparent": "rubbish"}, {"other": "x"}])
def test_headers_that_name_no_span_make_no_link(
    provider: TracerProvider, exporter: InMemorySpanExporter, link: dict[str, str] | None
) -> None:
    with Tracing(provider).span("step", link=link):
        pass
    assert list(exporter.get_finished_spans()[0].links) == []


def test_without_a_current_span_there_is_nothing_to_keep(provider: TracerProvider) -> None:
    assert Tracing(provider).inject() == {}


def test_without_a_provider_nothing_happens(provider: TracerProvider) -> None:
    tracing = Tracing()
    assert not tracing.enabled
    with provider.get_tracer("app").start_as_current_span("request"):
        assert tracing.inject() == {}
        with tracing.span("step", attributes={"a": 1}, link={"traceparent": "x"}) as span:
            assert span is None
    with pytest.raises(ValueError, match="through"), tracing.span("step"):
        raise ValueError("through")


def test_opentelemetry_is_not_imported_without_a_provider() -> None:
    program = (
        "import sys\nfrom workflow._engine.tracing import Tracing\n"
        "with Tracing().span('x'): pass\nassert not any(m.startswith('opentelemetry') for m in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
