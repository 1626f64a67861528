"""The admin: a list of the jobs that wait or run, a list of those that have ended, one page per job; schedules; and
pages that tell how it stands.
"""

from .pages import DashboardAdmin, QueueAdmin, TaskAdmin, WorkerAdmin
from .queued_jobs import QueuedJobAdmin
from .results import JobResultAdmin
from .schedules import ScheduleAdmin

__all__ = [
    "DashboardAdmin",
    "JobResultAdmin",
    "QueueAdmin",
    "QueuedJobAdmin",
    "ScheduleAdmin",
    "TaskAdmin",
    "WorkerAdmin",
]
