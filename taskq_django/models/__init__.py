from .job_attempt import JobAttempt
from .job_result import JobResult
from .paused_queue import PausedQueue
from .queued_job import QueuedJob
from .worker_process import WorkerProcess

__all__ = ["JobAttempt", "JobResult", "PausedQueue", "QueuedJob", "WorkerProcess"]
