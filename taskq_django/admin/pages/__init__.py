"""Pages that are no lists of rows."""

from .dashboard import DashboardAdmin
from .queues import QueueAdmin
from .tasks import TaskAdmin
from .workers import WorkerAdmin

__all__ = ["DashboardAdmin", "QueueAdmin", "TaskAdmin", "WorkerAdmin"]
