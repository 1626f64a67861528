"""When to enqueue which task, and what came of it so far."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, router
from django.db.models import Case, F, Value, When
from django.utils.timezone import now as django_now
from django.utils.translation import gettext_lazy as _

from ..schedules import Kind, SpecError, read_kind
from ..schedules.preview import first_slot
from ..schedules.zones import default_timezone
from .arguments_field import ArgumentsField
from .moments import MomentField, as_orm_has, aware, database_now

LONGEST_TIME = 10 * 366 * 86_400  # seconds

# What ``update`` writes to disable a row. Its slot goes, because it would be late when the row is enabled again.
SWITCHED_OFF: dict[str, Any] = {"enabled": False, "next_run_at": None, "is_finished": False, "broken": ""}

# The fields that decide when it runs. When one of them changes, ``save`` plans the schedule anew.
TIMING = ("enabled", "kind", "spec", "timezone", "start_at", "end_at", "max_runs")


class Misfire(models.TextChoices):
    """What becomes of slots that passed while no beat was running."""

    SKIP = "skip", _("skip them")
    ONCE = "once", _("run once for all of them")
    ALL = "all", _("run each of them")


class Overlap(models.TextChoices):
    """What becomes of a slot while the job of the one before has not ended."""

    ALLOW = "allow", _("run beside it")
    SKIP = "skip", _("skip the slot")


class Schedule(models.Model):
    """A task, its arguments, and the slots at which it is to be enqueued.

    People own the fields down to ``note``, the beat those below. ``save`` plans a changed row anew, writes nothing
    that the beat owns otherwise, and bumps ``version``: a tick that had read the row before finds it changed.
    Raises SpecError for a kind, a spec or a time zone that cannot be read.
    """

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(_("name"), max_length=200, unique=True)
    task_path = models.CharField(_("task"), max_length=255)
    args = ArgumentsField(_("positional arguments"), default=list, blank=True)
    kwargs = ArgumentsField(_("arguments"), default=dict, blank=True)
    enabled = models.BooleanField(_("enabled"), default=True)
    # Without choices, because a new kind must not need a migration.
    kind = models.CharField(_("kind"), max_length=20, default="cron")
    spec = models.CharField(_("when"), max_length=100)
    timezone = models.CharField(_("time zone"), max_length=64, default=default_timezone)
    start_at = MomentField(_("not before"), null=True, blank=True)
    end_at = MomentField(_("not after"), null=True, blank=True)
    jitter = models.PositiveIntegerField(
        _("jitter"),
        default=0,
        validators=[MaxValueValidator(86_400)],
        help_text=_("Seconds; each run is put off by a random part of them."),
    )
    misfire = models.CharField(
        _("missed runs"),
        max_length=10,
        choices=Misfire.choices,
        default=Misfire.ONCE,
        help_text=_("A run is missed when no beat was there to start it in time."),
    )
    misfire_grace = models.PositiveIntegerField(
        _("grace"),
        default=86_400,
        validators=[MaxValueValidator(LONGEST_TIME)],
        help_text=_("Seconds after which a missed run is not made up for any more."),
    )
    misfire_cap = models.PositiveIntegerField(
        _("at most"),
        default=100,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text=_("So many missed runs are made up for, where each is."),
    )
    overlap = models.CharField(
        _("while the last run has not ended"), max_length=10, choices=Overlap.choices, default=Overlap.ALLOW
    )
    queue_name = models.CharField(
        _("queue"), max_length=64, blank=True, default="", help_text=_("Empty: the queue of the task.")
    )
    priority = models.SmallIntegerField(
        _("priority"),
        null=True,
        blank=True,
        validators=[MinValueValidator(-100), MaxValueValidator(100)],
        help_text=_("-100 to 100, higher first. Empty: the priority of the task."),
    )
    backend = models.CharField(
        _("backend"), max_length=64, blank=True, default="", help_text=_("Alias in TASKS. Empty: that of the task.")
    )
    expires = models.PositiveIntegerField(
        _("expires"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(LONGEST_TIME)],
        help_text=_("Seconds; a job that has not started by then is dropped. Empty: as the task says."),
    )
    max_runs = models.PositiveIntegerField(
        _("runs in all"), null=True, blank=True, validators=[MinValueValidator(1)], help_text=_("Empty: no limit.")
    )
    note = models.TextField(_("note"), blank=True, default="", max_length=10_000)

    # Only of a schedule that the code declares: how its row is found again, and whether somebody has changed it.
    declared_as = models.CharField(_("declared as"), max_length=255, blank=True, default="", editable=False)
    is_overridden = models.BooleanField(_("changed here"), default=False, editable=False)
    disabled_reason = models.CharField(_("why disabled"), max_length=200, blank=True, default="", editable=False)
    created_at = MomentField(_("created at"), default=django_now, editable=False)
    edited_at = MomentField(_("edited at"), default=django_now, editable=False)

    # The beat's.
    next_run_at = MomentField(_("next run"), null=True, blank=True, editable=False)  # the next slot
    last_run_at = MomentField(_("last run"), null=True, blank=True, editable=False)  # of a slot; not by hand
    run_count = models.PositiveIntegerField(_("runs"), default=0, editable=False)  # jobs of slots, not by hand
    is_finished = models.BooleanField(_("finished"), default=False, editable=False)  # no slot is left
    broken = models.TextField(
        _("broken"), blank=True, default="", editable=False
    )  # why no job could be made; "": it can
    version = models.PositiveIntegerField(_("version"), default=1, editable=False)

    class Meta:
        verbose_name = _("schedule")
        verbose_name_plural = _("schedules")
        permissions = [("run_schedule", "Can run schedule now")]
        indexes = [models.Index(fields=["enabled", "next_run_at"], name="taskq_schedule_due")]

    def __str__(self) -> str:
        return self.name

    @property
    def moments(self) -> Kind:
        """Its slots. Raises SpecError."""
        begin = aware(self.start_at or self.created_at).replace(microsecond=0)
        return read_kind(self.kind, self.spec, self.timezone, begin)

    def clean(self) -> None:
        if not isinstance(self.args, list):
            raise ValidationError({"args": _("This must be a list: [1, 2].")})
        if not isinstance(self.kwargs, dict):
            raise ValidationError({"kwargs": _('This must be an object: {"name": 1}.')})
        try:
            kind = read_kind(self.kind, self.spec, self.timezone)
        except SpecError as error:
            raise ValidationError({error.field: str(error)}) from error
        for name in ("start_at", "end_at"):
            moment = getattr(self, name)
            if moment is not None and not 2000 <= moment.year <= 9000:
                raise ValidationError({name: _("The year is from 2000 to 9000.")})
        if self.start_at and self.end_at and self.end_at <= self.start_at:
            raise ValidationError({"end_at": _("The end must be later than the start.")})
        self.spec = kind.spec

    def plan_from(self, now: datetime) -> None:
        """Set the next slot as of one who plans at ``now`` (aware). Raises SpecError."""
        self.next_run_at, self.is_finished, self.broken = None, False, ""
        if not self.enabled:
            return
        slot = first_slot(self.moments, now, start=aware(self.start_at), end=aware(self.end_at))
        if self.max_runs is not None and self.run_count >= self.max_runs:
            slot = None
        self.next_run_at, self.is_finished = as_orm_has(slot), slot is None

    def save(self, *args: Any, using: str | None = None, update_fields: Any = None, **kwargs: Any) -> None:
        database = using or router.db_for_write(type(self), instance=self)
        now = database_now(database)
        rows = type(self)._default_manager.using(database)
        stored = None if self._state.adding else rows.filter(pk=self.pk).values(*TIMING, "broken").first()
        self.edited_at = as_orm_has(now)
        if stored is None:
            self.created_at = self.edited_at
            self.plan_from(now)
            super().save(*args, using=database, **kwargs)
            return
        if any(stored[name] != getattr(self, name) for name in ("kind", "spec", "timezone")):
            read_kind(self.kind, self.spec, self.timezone)  # raises SpecError before anything is written
        if self.enabled:
            self.disabled_reason = ""
        written = set(OWNED_BY_PEOPLE if update_fields is None else [*update_fields, "disabled_reason"])
        written |= {"edited_at", "version"}
        if stored["broken"] or any(stored[name] != getattr(self, name) for name in written.intersection(TIMING)):
            self.plan_from(now)
            written |= {"next_run_at", "is_finished", "broken"}
        self.version = F("version") + 1
        super().save(*args, using=database, update_fields=written, **kwargs)
        self.refresh_from_db(using=database, fields=["version"])


def slot_of_each(slots: Mapping[int, datetime | None]) -> Any:
    """For ``update(next_run_at=…)`` of many: by the key of each row its own slot, as the ORM has it."""
    alike: dict[tuple[datetime, int], list[int]] = {}
    for key, slot in slots.items():
        if slot is not None:
            alike.setdefault((slot, slot.fold), []).append(key)
    field = Schedule._meta.get_field("next_run_at")
    cases = [When(pk__in=keys, then=Value(slot, output_field=field)) for (slot, _fold), keys in alike.items()]
    return Case(*cases, default=Value(None, output_field=field), output_field=field) if cases else None


EDITABLE = tuple(field.name for field in Schedule._meta.fields if field.editable and not field.primary_key)
OWNED_BY_PEOPLE = (*EDITABLE, "declared_as", "is_overridden", "disabled_reason")


class ScheduleRun(models.Model):
    """A slot of a schedule, and the job that was enqueued for it. That a slot comes once is a constraint."""

    id = models.BigAutoField(primary_key=True)
    # Without a constraint in the database, because MariaDB could not change the character set of the table then.
    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="runs", db_constraint=False)
    slot = MomentField(_("due"))
    job_id = models.UUIDField(_("job"))
    enqueued_at = MomentField(_("enqueued at"))
    by_hand = models.BooleanField(_("by hand"), default=False)

    class Meta:
        verbose_name = _("run of a schedule")
        verbose_name_plural = _("runs of schedules")
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["schedule", "slot"], name="taskq_schedule_slot")]

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.slot}"
