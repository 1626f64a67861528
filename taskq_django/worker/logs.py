"""The log of a worker: lines for people, or JSON; a project's own LOGGING comes first."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from django.conf import settings

from ..compat import FRAMEWORK

LEVELS = {0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG, 3: logging.DEBUG}
TEXT = "%(asctime)s.%(msecs)03d %(levelname)s %(name)s %(message)s"
FIELDS = ("task", "job_id", "queue", "attempt", "wait", "run")


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: getattr(record, name) for name in FIELDS if hasattr(record, name)})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logs(log_format: str, verbosity: int) -> None:
    """Give ``taskq_django`` a handler on stderr unless the project has configured that logger or the root."""
    ours = logging.getLogger("taskq_django")
    configured = getattr(settings, "LOGGING", {}).get("loggers", {})
    if FRAMEWORK not in configured:
        # django.tasks logs the same ends again. Our lines are enough where the project has not asked for those. But
        # handlers that mail errors to the ADMINS, or collect them, listen to that logger, so they still get its lines.
        logging.getLogger(FRAMEWORK).setLevel(logging.CRITICAL if settings.DEBUG else logging.ERROR)
    if ours.handlers or logging.getLogger().handlers or "taskq_django" in configured:
        return
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(TEXT, "%Y-%m-%d %H:%M:%S"))
    ours.addHandler(output)
    ours.setLevel(LEVELS.get(verbosity, logging.INFO))
    ours.propagate = False
