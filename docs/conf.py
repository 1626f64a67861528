"""Sphinx. The reference is listed from the declarations in the code; see directives.py."""

from __future__ import annotations

import sys
from pathlib import Path

import django
from django.conf import settings

sys.path[:0] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent)]
settings.configure(INSTALLED_APPS=["taskq_django"])
django.setup()

import taskq_django  # noqa: E402

project = "taskq_django"
copyright = "2026, the taskq_django contributors"  # noqa: A001
release = taskq_django.__version__
extensions = ["directives"]
html_theme = "furo"
exclude_patterns = ["_build", "changes"]
