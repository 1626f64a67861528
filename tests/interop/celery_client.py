"""``python -m tests.interop.celery_client``: reads calls of ``send_task`` as JSON, one a line, and writes their ids."""

from __future__ import annotations

import json
import sys

from kombu.utils.json import loads

from tests.interop.celery_app import app

for line in sys.stdin:
    task, args, options = loads(line)
    sys.stdout.write(json.dumps(app.send_task(task, args, **options).id) + "\n")
    sys.stdout.flush()
