"""The two receivers: one notes what surrounds the caller, the other has it surround the run."""

from __future__ import annotations

import logging
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone, translation

from ...jobs import Claim, headers_of
from . import request_id, tenant_id

logger = logging.getLogger(__name__)

CALLER = "caller"  # the key in the headers
VARIABLES = {"request_id": request_id, "tenant_id": tenant_id}


def take_along(headers: dict[str, Any], **given: Any) -> None:
    """A receiver of ``before_enqueue``. What is as in every process of the project is not carried."""
    found = {name: str(value) for name, variable in VARIABLES.items() if (value := variable.get()) not in ("", None)}
    language: str | None = translation.get_language()
    zone: str = timezone.get_current_timezone_name()
    if fired := headers.get("schedule"):  # the same by a beat, and by whoever has it run now
        language, zone = None, fired["timezone"]
    if language and language != settings.LANGUAGE_CODE:
        found["language"] = language
    if zone != timezone.get_default_timezone_name():
        found["time_zone"] = zone
    if found:
        headers[CALLER] = found


def put_on(claim: Claim, **given: Any) -> None:
    """A receiver of ``before_run``. What is unknown here (a zone, of a newer machine) is left out, and logged."""
    if f'"{CALLER}"' not in claim.job.headers:
        return
    found = (headers_of(claim.job.headers) or {}).get(CALLER)
    if not isinstance(found, dict):
        return
    texts = {name: value for name, value in found.items() if isinstance(value, str) and value}
    for name, variable in VARIABLES.items():
        if name in texts:
            variable.set(texts[name])
    if "language" in texts:
        if translation.check_for_language(texts["language"]):
            translation.activate(texts["language"])
        else:
            logger.warning("Job %s: there is no language %r here", claim.job.id, texts["language"])
    if "time_zone" in texts:
        try:
            timezone.activate(ZoneInfo(texts["time_zone"]))
        except (LookupError, OSError, ValueError):
            logger.warning("Job %s: there is no time zone %r here", claim.job.id, texts["time_zone"])
