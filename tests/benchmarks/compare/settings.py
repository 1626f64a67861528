"""Django settings of what runs for either checkout; the database is the one that COMPARE_DATABASE tells."""

from __future__ import annotations

import json
import os

from tests.support.servers import choose_mysql_driver

SECRET_KEY = "for benchmarks only"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING_CONFIG = None
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "taskq_django",
    "tests.benchmarks.compare",
]
DATABASES = {"default": json.loads(os.environ["COMPARE_DATABASE"])}
TASKS = json.loads(os.environ["COMPARE_TASKS"])
if DATABASES["default"]["ENGINE"].endswith("mysql"):
    choose_mysql_driver()
