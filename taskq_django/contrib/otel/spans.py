"""A span of the producer for each job, and one of the consumer for each of its runs, which has the first as its parent
and its link.

Names and attributes: OpenTelemetry's semantic conventions for messaging, where they have a word for it.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ... import __version__
from ...jobs import Claim, Discarded, Failed, Job, Outcome, Retried, headers_of
from .counters import count

SYSTEM = "taskq_django"
CARRIED = ("traceparent", "tracestate")  # keys in the headers, of W3C Trace Context

_tracer = trace.get_tracer("taskq_django", __version__)  # of whatever SDK is set up later
_propagator = TraceContextTextMapPropagator()
_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")  # W3C Trace Context, version 00
_NOWHERE = context.Context()
_running: ContextVar[Span | None] = ContextVar("taskq_django_span", default=None)  # in the context of its job


def create(job: Job, headers: dict[str, Any], **given: Any) -> None:
    """A receiver of ``before_enqueue``: the span is the making of the job, and what it carries leads back here."""
    span = _tracer.start_span(f"create {job.queue_name}", kind=SpanKind.PRODUCER)
    if span.is_recording():
        span.set_attributes(_attributes(job, "create"))
    _propagator.inject(headers, context=trace.set_span_in_context(span))
    span.end()


def begin(claim: Claim, **given: Any) -> None:
    """A receiver of ``before_run``. What the task does is below this span until its run is over."""
    job = claim.job
    made_in = _made_in(job)
    parent = _NOWHERE if made_in is None else trace.set_span_in_context(NonRecordingSpan(made_in), _NOWHERE)
    if made_in is not None and not made_in.trace_flags.sampled:
        context.attach(parent)  # whose producer was not sampled is not either, nor is what it does
        return
    span = _tracer.start_span(
        f"process {job.queue_name}",
        context=parent,
        kind=SpanKind.CONSUMER,
        links=[Link(made_in)] if made_in is not None else [],
    )
    if span.is_recording():
        own = {"taskq.attempt": claim.attempt, "taskq.waited": claim.waited}
        span.set_attributes({**_attributes(job, "process"), **own})
    _running.set(span)
    context.attach(trace.set_span_in_context(span, _NOWHERE))  # for good: the context ends with the job


def _made_in(job: Job) -> SpanContext | None:
    """The producer's span, of another process; None where the job tells of none."""
    if '"traceparent"' not in job.headers:
        return None
    carried = headers_of(job.headers) or {}
    texts = {key: value for key in CARRIED if isinstance(value := carried.get(key), str)}
    if (told := _PARENT.fullmatch(texts.get("traceparent", ""))) and len(
        texts
    ) == 1:  # a tenth of the propagator's time
        trace_id, span_id, flags = (int(part, 16) for part in told.groups())
        found = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    else:
        found = trace.get_current_span(_propagator.extract(texts, context=_NOWHERE)).get_span_context()
    return found if found.is_valid else None


def note_exception(claim: Claim, outcome: Failed | Retried, exception: BaseException, **given: Any) -> None:
    """A receiver of ``run_failed`` and ``run_retried``."""
    if (span := _running.get()) is not None and span.is_recording():
        if isinstance(exception, Exception):
            span.record_exception(exception)
        span.set_attribute("error.type", outcome.failure.exception_class)
        span.set_status(Status(StatusCode.ERROR, outcome.failure.message))


def end(claim: Claim, outcome: Outcome, **given: Any) -> None:
    """A receiver of ``after_run``."""
    count(claim, outcome)
    if (span := _running.get()) is None:
        return
    if span.is_recording():
        state = outcome.state if isinstance(outcome, Discarded) else type(outcome).__name__
        span.set_attribute("taskq.outcome", state.lower())
    span.end()
    _running.set(None)


def _attributes(job: Job, operation: str) -> dict[str, Any]:
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": operation,
        "messaging.destination.name": job.queue_name,
        "messaging.message.id": job.id,
        "taskq.task": job.task_path,
        "taskq.backend": job.backend,
    }
