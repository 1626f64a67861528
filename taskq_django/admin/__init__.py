"""The admin: a list of the jobs that wait or run, a list of those that have ended, one page per job."""

from .queued_jobs import QueuedJobAdmin
from .results import JobResultAdmin

__all__ = ["JobResultAdmin", "QueuedJobAdmin"]
