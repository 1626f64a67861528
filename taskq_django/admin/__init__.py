"""The admin: a list of the jobs that wait or run, a list of those that have ended, one page per job; and
schedules.
"""

from .queued_jobs import QueuedJobAdmin
from .results import JobResultAdmin
from .schedules import ScheduleAdmin

__all__ = ["JobResultAdmin", "QueuedJobAdmin", "ScheduleAdmin"]
