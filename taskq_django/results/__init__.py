"""The handle of a job, the context of a task that runs, and waits for several jobs."""

from .context import TaskContext
from .handle import Result, StoredError
from .waiting import await_for, wait_for

__all__ = ["Result", "StoredError", "TaskContext", "await_for", "wait_for"]
