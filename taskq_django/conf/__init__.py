"""The settings: ``sections`` has each, ``declaration`` says how one is declared, ``broker_url`` where jobs wait."""

from .sections import (
    SECTIONS,
    BackendOptions,
    Beat,
    Worker,
    option_problems,
    problems,
    queue_name_problem,
    read_options,
    right_settings,
    taskq_settings,
)

__all__ = [
    "SECTIONS",
    "BackendOptions",
    "Beat",
    "Worker",
    "option_problems",
    "problems",
    "queue_name_problem",
    "read_options",
    "right_settings",
    "taskq_settings",
]
