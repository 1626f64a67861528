"""Settings of the test project. TASKQ_TEST_DB names the database: sqlite (default), postgresql, mariadb or mysql."""

from __future__ import annotations

import atexit
import os
import tempfile
from pathlib import Path
from typing import Any

from tests.support import services

SECRET_KEY = "for tests only"
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
ROOT_URLCONF = "tests.urls"
ALLOWED_HOSTS = ["*"]
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "taskq_django",
    "tests.app",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# A child process (a worker under test) is told the files and databases of the run that started it.
if "TASKQ_TEST_FOLDER" not in os.environ:
    os.environ["TASKQ_TEST_FOLDER"] = tempfile.mkdtemp(prefix="taskq-tests-")
    atexit.register(services.remove_folder, os.environ["TASKQ_TEST_FOLDER"], os.getpid())
_folder = Path(os.environ["TASKQ_TEST_FOLDER"])
_sqlite = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": _folder / os.environ.get("TASKQ_TEST_NAME", "unused.sqlite3"),
    # A file, and not memory: threads and other processes open it too.
    "TEST": {"NAME": _folder / "test.sqlite3"},
    "OPTIONS": {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    },
}
DATABASE = os.environ.get("TASKQ_TEST_DB", "sqlite")
_servers = {"postgresql": services.postgresql, "mariadb": services.mariadb, "mysql": services.mysql}
_found = _servers[DATABASE]() if DATABASE in _servers else None
if _found and "TASKQ_TEST_NAME" in os.environ:
    _found["NAME"] = os.environ["TASKQ_TEST_NAME"]
_default: dict[str, Any] = _found or _sqlite
# A second one, for what is about several: in the same server or folder.
_other = {**_default, "NAME": os.environ.get("TASKQ_TEST_OTHER_NAME", f"{_default['NAME']}_other")}
_other["TEST"] = {**_default["TEST"], "NAME": f"{_default['TEST']['NAME']}_other"}
DATABASES = {"default": _default, "other": _other}
