"""For tests of projects that use taskq_django: the fixture ``taskq`` of pytest, and the same for ``TestCase``."""

from __future__ import annotations

from .enqueued import Enqueued
from .kit import TaskqKit
from .mixin import TaskqTestMixin
from .running import run_all

__all__ = ["Enqueued", "TaskqKit", "TaskqTestMixin", "run_all"]
