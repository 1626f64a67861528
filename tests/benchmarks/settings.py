"""The test project with DEBUG off, one database and the benchmark's tasks."""

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS
from tests.support import services

# The test project falls back to SQLite then, which would be measured under the other's name.
if services.missing:
    raise SystemExit("; ".join(services.missing))

DEBUG = False
DATABASES = {"default": DATABASES["default"]}
INSTALLED_APPS = [*INSTALLED_APPS, "tests.benchmarks"]
LOGGING_CONFIG = None
