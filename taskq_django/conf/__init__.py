"""The settings: ``sections`` has those of TASKQ, ``backend_options`` those of a backend, ``declaration`` says how."""

from .backend_options import BackendOptions, option_advice, option_problems, read_options
from .sections import (
    SECTIONS,
    Beat,
    Worker,
    advice,
    is_redacted,
    problems,
    queue_name_problem,
    right_settings,
    taskq_settings,
)

__all__ = [
    "SECTIONS",
    "BackendOptions",
    "Beat",
    "Worker",
    "advice",
    "is_redacted",
    "option_advice",
    "option_problems",
    "problems",
    "queue_name_problem",
    "read_options",
    "right_settings",
    "taskq_settings",
]
