"""System checks: what is wrong in the settings and among the tasks, found before anything runs."""

from __future__ import annotations

from . import databases, engines  # noqa: F401 - they register their checks
from .configuration import has_framework, has_misspelt_backend
from .messages import CHECKS, TAG

__all__ = ["CHECKS", "TAG", "has_framework", "has_misspelt_backend"]
