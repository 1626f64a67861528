"""One virtual environment per peer, under $BENCH_VENVS; ours is the Python that runs the benchmark."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(os.environ.get("BENCH_VENVS") or Path(tempfile.gettempdir()) / "taskq-bench-venvs")

# Each with Django: the harness uses its connection to prepare and to empty the database.
REQUIREMENTS = {
    "celery": ["celery[redis]", "hiredis", "django-celery-results"],
    "django_ox": ["django-ox"],
    "django_q2": ["django-q2"],
    "django_tasks_db": ["django-tasks-db"],
    "django_vtasks": ["django-vtasks[valkey]", "redis"],
    "dj_queue": ["dj-queue[postgres]"],
    "dramatiq": ["dramatiq[redis]", "hiredis"],
    "huey": ["huey[redis]", "hiredis"],
    "pgqueuer": ["pgqueuer[asyncpg]", "uvloop"],
    "procrastinate": ["procrastinate"],
    "taskiq": ["taskiq", "taskiq-redis", "hiredis", "uvloop"],
}


def python_of(system: str) -> str:
    if system not in REQUIREMENTS:
        return sys.executable
    folder = FOLDER / system
    stamp = folder / "installed"
    wanted = " ".join(REQUIREMENTS[system])
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"Installing {wanted} in {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "django", "psycopg[binary]", *REQUIREMENTS[system]], check=True)
        stamp.write_text(wanted)
    return str(folder / "bin/python")
