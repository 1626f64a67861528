from .cancel_wish import CancelWish
from .job_attempt import JobAttempt
from .job_counts import JobCounts
from .job_progress import JobProgress
from .job_result import JobResult
from .pages import Dashboard, Queue, RegisteredTask
from .paused_queue import PausedQueue
from .queued_job import QueuedJob
from .schedule import Misfire, Overlap, Schedule, ScheduleRun
from .store_identity import StoreIdentity
from .worker_process import WorkerProcess, WorkerState
from .worker_request import Request, WorkerRequest

__all__ = [
    "CancelWish",
    "Dashboard",
    "JobAttempt",
    "JobCounts",
    "JobProgress",
    "JobResult",
    "Misfire",
    "Overlap",
    "PausedQueue",
    "Queue",
    "QueuedJob",
    "RegisteredTask",
    "Request",
    "Schedule",
    "ScheduleRun",
    "StoreIdentity",
    "WorkerProcess",
    "WorkerRequest",
    "WorkerState",
]
