"""What OpenTelemetry's own SDK exports of jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import AppConfig

pytest.importorskip("opentelemetry.sdk")
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from taskq_django import signals, task
from taskq_django.models import QueuedJob
from taskq_django.testing import run_all
from tests.app import tasks

pytestmark = pytest.mark.django_db

UID = "taskq_django.contrib.otel"
HEARD = (signals.before_enqueue, signals.before_run, signals.run_failed, signals.run_retried, signals.after_run)

exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
tracer = trace.get_tracer("of the project")


@pytest.fixture(scope="module", autouse=True)
def _sdk() -> None:
    """One for the process: OpenTelemetry takes no second."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([reader]))


@pytest.fixture(autouse=True)
def _installed(_sdk: None) -> Iterator[None]:
    AppConfig.create(UID).ready()
    exporter.clear()
    yield
    for signal in HEARD:
        signal.disconnect(dispatch_uid=UID)


def spans(kind: SpanKind) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.kind is kind]


def within() -> int:
    with tracer.start_as_current_span("within"):
        return 1


async def awithin() -> int:
    return within()


def explode() -> None:
    raise LookupError("no such order")


@pytest.mark.parametrize("function", [within, awithin])
def test_a_run_is_a_span_below_who_enqueued_it(function: Any) -> None:
    registered = task(function)
    with tracer.start_as_current_span("request") as request:
        result = registered.using(queue_name="mail").enqueue()
    run_all()
    [made], [run] = spans(SpanKind.PRODUCER), spans(SpanKind.CONSUMER)
    assert (made.name, run.name) == ("create mail", "process mail")
    assert made.parent == request.get_span_context()
    assert run.parent is not None
    assert run.parent.span_id == made.context.span_id
    assert [link.context.span_id for link in run.links] == [made.context.span_id]
    assert {each.context.trace_id for each in (made, run)} == {request.get_span_context().trace_id}
    [inner] = [span for span in exporter.get_finished_spans() if span.name == "within"]
    assert inner.parent is not None
    assert inner.parent.span_id == run.context.span_id
    told = dict(run.attributes or {})
    assert told["messaging.message.id"] == result.id
    assert (told["taskq.task"], told["taskq.attempt"], told["taskq.outcome"]) == (
        registered.module_path,
        1,
        "succeeded",
    )
    assert not trace.get_current_span().get_span_context().is_valid, "it ends with the job"


def test_each_attempt_is_a_span_of_its_own() -> None:
    tasks.note_and_retry.enqueue()
    run_all()
    run_all()
    [made], runs = spans(SpanKind.PRODUCER), spans(SpanKind.CONSUMER)
    assert [(run.attributes or {})["taskq.attempt"] for run in runs] == [1, 2]
    assert [(run.attributes or {})["taskq.outcome"] for run in runs] == ["retried", "succeeded"]
    assert {run.links[0].context.span_id for run in runs} == {made.context.span_id}
    assert [run.status.status_code for run in runs] == [StatusCode.ERROR, StatusCode.UNSET]


def test_a_run_that_fails_has_its_exception() -> None:
    task(explode).enqueue()
    run_all()
    [run] = spans(SpanKind.CONSUMER)
    assert (run.status.status_code, run.status.description) == (StatusCode.ERROR, "no such order")
    assert [event.name for event in run.events] == ["exception"]
    assert (run.attributes or {})["error.type"] == "builtins.LookupError"


@pytest.mark.parametrize("carried", ["x", 5, None, "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "00-zz-zz-01"])
def test_what_leads_nowhere_is_no_parent(carried: Any) -> None:
    job = tasks.add.enqueue(1)
    QueuedJob.objects.filter(pk=job.id).update(headers=json.dumps({"traceparent": carried}))
    run_all()
    [run] = spans(SpanKind.CONSUMER)
    assert (run.parent, list(run.links)) == (None, [])


def test_whose_producer_is_not_sampled_has_no_span_nor_has_what_it_does() -> None:
    job = task(within).enqueue()
    exporter.clear()
    QueuedJob.objects.filter(pk=job.id).update(headers=json.dumps({"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}))
    run_all()
    assert exporter.get_finished_spans() == ()
    assert job.get(timeout=0) == 1


def test_runs_are_counted() -> None:
    def counted() -> dict[tuple[str, Any], float]:
        data = reader.get_metrics_data()
        return {
            (metric.name, (point.attributes or {})["taskq.outcome"]): point.value
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
            if (point.attributes or {})["taskq.task"] == tasks.add.module_path
        }

    before = counted().get(("taskq.runs", "succeeded"), 0)
    tasks.add.enqueue_many([(1,), (2,), (3,)])
    run_all()
    assert counted()["taskq.runs", "succeeded"] == before + 3
    assert counted()["taskq.run.time", "succeeded"] > 0
