"""Optional OpenTelemetry: one span for each time a handler runs, linked to the span that triggered the run.

Linked, not parented: a run may wait for days, and a trace that stays open that long is of no use. OpenTelemetry is
imported only when a tracer provider is injected; without one nothing here costs more than a call.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # an extra: it may not be installed
    from opentelemetry.trace import Span, TracerProvider
    from opentelemetry.util.types import AttributeValue

_NOTHING: "AbstractContextManager[Span | None]" = nullcontext()


class Tracing:
    """Makes spans with the tracer provider it is given; without one it does nothing."""

    def __init__(self, tracer_provider: "TracerProvider | None" = None) -> None:
        self.enabled = tracer_provider is not None
        if tracer_provider is None:
            return
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = tracer_provider.get_tracer("workflow")
        self._propagator = TraceContextTextMapPropagator()

    def inject(self) -> dict[str, str]:
        """The current span as W3C headers, to be kept with the run; empty without one."""
        headers: dict[str, str] = {}
        if self.enabled:
            self._propagator.inject(headers)
        return headers

    def span(
        self,
        name: str,
        *,
        attributes: "Mapping[str, AttributeValue] | None" = None,
        link: Mapping[str, str] | None = None,
        root: bool = True,
    ) -> "AbstractContextManager[Span | None]":
        """A CONSUMER span around a handler, linked to the span that `link` (headers from `inject`) names.

        An exception that leaves the context is recorded and makes the span an error; cancellation does not.

        Args:
            name: what runs, low in variety: no ids.
            attributes: ids and the like.
            link: empty or unreadable headers make no link.
            root: begin a trace of its own. A worker's tasks inherit the context in which the application was started,
                which has nothing to do with the run. False: a child of the caller's span, if there is one.
        """
        if not self.enabled:
            return _NOTHING
        from opentelemetry.context import Context
        from opentelemetry.trace import Link, SpanKind, get_current_span

        origin = get_current_span(self._propagator.extract(link, Context())).get_span_context() if link else None
        return self._tracer.start_as_current_span(
            name,
            context=Context() if root else None,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=[Link(origin)] if origin is not None and origin.is_valid else [],
        )
