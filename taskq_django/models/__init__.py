from .cancel_wish import CancelWish
from .job_attempt import JobAttempt
from .job_result import JobResult
from .paused_queue import PausedQueue
from .queued_job import QueuedJob
from .schedule import Misfire, Overlap, Schedule, ScheduleRun
from .store_identity import StoreIdentity
from .worker_process import WorkerProcess

__all__ = [
    "CancelWish",
    "JobAttempt",
    "JobResult",
    "Misfire",
    "Overlap",
    "PausedQueue",
    "QueuedJob",
    "Schedule",
    "ScheduleRun",
    "StoreIdentity",
    "WorkerProcess",
]
