"""What is said where schedules wait for a beat and none is alive."""

from __future__ import annotations

from django.utils.translation import gettext as _t
from django.utils.translation import ngettext

from ...exceptions import lasting
from ...store.beat_sign import BeatStatus
from ..display import NBSP

START_ONE = "python manage.py taskq_worker -B"


def missing_text(beat: BeatStatus) -> str:
    text = ngettext(
        "No beat is alive, so nothing fires the %(count)d schedule that is enabled.",
        "No beat is alive, so nothing fires the %(count)d schedules that are enabled.",
        beat.schedules,
    ) % {"count": beat.schedules}
    return text if beat.seen is None else f"{text} {_t('The last one was seen %s ago.') % lasting(beat.seen, NBSP)}"
