import os

DEBUG = False
SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["localhost"]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ["POSTGRES_HOST"],
        "NAME": "postgres",
        "USER": "postgres",
        "PASSWORD": os.environ["POSTGRES_PASSWORD"],
    },
}

TASKS = {
    "default": {
        "BACKEND": "taskq_django.TaskqBackend",
        "OPTIONS": {"broker": os.environ["REDIS_URL"], "outbox": True},
    },
}
