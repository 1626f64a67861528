"""A project that is being deployed: some of its processes run this release of taskq_django, some the one before."""

import json
import os

_told = json.loads(os.environ["TASKQ_TEST_PROJECT"])

SECRET_KEY = "for tests only"
USE_TZ = True
ROOT_URLCONF = "urls"
ALLOWED_HOSTS = ["*"]
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "taskq_django",
    "shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
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
DATABASES = {"default": _told["database"]}
TASKS = {"default": {"BACKEND": "taskq_django.TaskqBackend", "OPTIONS": _told["options"]}}
TASKQ = {"WORKER": {"HEARTBEAT": 0.2, "LEASE": 2.0, "MAINTENANCE": 0.2}}
