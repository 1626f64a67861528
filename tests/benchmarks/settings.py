"""The test project with DEBUG off and the benchmark's tasks."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

DEBUG = False
INSTALLED_APPS = [*INSTALLED_APPS, "tests.benchmarks"]
LOGGING_CONFIG = None
