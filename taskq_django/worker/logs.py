"""The log of a worker: lines for people, or JSON; a project's own LOGGING comes first."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from django.conf import settings
from django.utils.log import AdminEmailHandler

from ..compat import FRAMEWORK
from ..conf import right_settings

# The second is its backport, which a package may have imported beside Django's own.
FRAMEWORKS = {FRAMEWORK, "django_tasks"}
OURS, OF_JOBS = "taskq_django", "taskq_django.task"
LEVELS = {0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG, 3: logging.DEBUG}
TEXT = "%(asctime)s.%(msecs)03d %(levelname)s %(name)s %(message)s"
FIELDS = ("task", "job_id", "queue", "attempt", "wait", "run", "retry_in", "reason", "error", "traceback")


class TextFormatter(logging.Formatter):
    """What a record has beyond its first line is indented, so that no text of a task's passes for a line of the log."""

    def __init__(self) -> None:
        super().__init__(TEXT, "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return _visible(super().format(record)).replace("\n", "\n  ")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - its name in logging
        job_id = getattr(record, "job_id", None)
        if job_id is not None and f"id={job_id}" not in record.message:
            record.message += f" task={getattr(record, 'task', None)} id={job_id}"
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line. ``event``: the message of who puts all that is to be known into fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": getattr(record, "event", None) or record.getMessage(),
        }
        line.update({name: getattr(record, name) for name in FIELDS if hasattr(record, name)})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logs(log_format: str, verbosity: int) -> None:
    """Give ``taskq_django`` a handler on stderr, unless one of the project's hears it."""
    ours = logging.getLogger(OURS)
    if not ours.hasHandlers():
        output = logging.StreamHandler(sys.stderr)
        output.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
        output.addFilter(_is_told_here_only)
        ours.addHandler(output)
        if ours.level == logging.NOTSET:
            ours.setLevel(LEVELS.get(verbosity, logging.INFO))
        ours.propagate = False
    for name in FRAMEWORKS - set(getattr(settings, "LOGGING", {}).get("loggers", {})):
        _silence(name)


def _silence(framework: str) -> None:
    """django.tasks logs the same ends again. Our lines are enough where the project has not asked for those.

    But handlers that mail errors to the ADMINS, or collect them, listen to that logger, so they still get its lines;
    those that mail do not where MAIL_FAILURES sends one mail for many.
    """
    theirs, of_jobs = logging.getLogger(framework), logging.getLogger(OF_JOBS)
    theirs.setLevel(logging.CRITICAL if settings.DEBUG else logging.ERROR)
    if right_settings().beat.mail_failures is not None:
        for output in _handlers_above(theirs):
            if isinstance(output, AdminEmailHandler):
                output.addFilter(_Without(framework))
    if of_jobs.isEnabledFor(logging.ERROR):
        told = {_place(output) for output in _handlers_above(of_jobs)}
        for output in _handlers_above(theirs):
            if _place(output) in told:
                output.addFilter(_Without(framework))


def _visible(text: str) -> str:
    """Without what moves the cursor, colours a terminal, or looks like a line's end and is none of ours."""
    if text.isprintable():
        return text
    shown = (each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text)
    return "".join(shown)


def _handlers_above(logger: logging.Logger | None, top: str | None = None) -> Iterator[logging.Handler]:
    """Those that get its lines, below the logger ``top``."""
    while logger is not None and logger.name != top:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


def _place(output: logging.Handler) -> object:
    """Where people read what it writes."""
    return "console" if getattr(output, "stream", None) in (sys.stdout, sys.stderr) else output


class _Without(logging.Filter):
    """For a place where our lines are: those of this logger have the same tracebacks. Or where one mail tells all."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.name != self.name


def _is_told_here_only(record: logging.LogRecord) -> bool:
    """A project may have given one of the loggers below ours a handler; not of what that leaves out, or mails."""
    theirs = _handlers_above(logging.getLogger(record.name), OURS)
    return not any(each.level <= record.levelno and _writes(each) for each in theirs)


def _writes(output: logging.Handler) -> bool:
    """For people who read a log: on a stream, or into a file."""
    return isinstance(output, logging.StreamHandler)
