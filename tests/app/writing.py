"""Tasks that write to the project's database, each as projects do."""

from __future__ import annotations

from django.db import transaction

from taskq_django import task
from taskq_django.models import PausedQueue


@task
def write(name: str) -> None:
    PausedQueue.objects.create(backend="other", queue_name=name)


@task
def read_and_write(name: str) -> None:
    with transaction.atomic():
        PausedQueue.objects.count()
        PausedQueue.objects.create(backend="other", queue_name=name)


@task
async def awrite(name: str) -> None:
    await PausedQueue.objects.acreate(backend="other", queue_name=name)


@task
def write_in_many_ways(name: str) -> None:
    assert not PausedQueue.objects.filter(queue_name=name).exists()
    with transaction.atomic():
        with transaction.atomic():
            row, _ = PausedQueue.objects.get_or_create(backend="other", queue_name=name)
        PausedQueue.objects.filter(pk=row.pk).update(backend="others")
    row.refresh_from_db()
    row.backend = "other"
    row.save()
    again = PausedQueue.objects.bulk_create([PausedQueue(backend="third", queue_name=name)])
    PausedQueue.objects.filter(pk__in=[each.pk for each in again]).delete()
