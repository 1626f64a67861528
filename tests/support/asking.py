"""Asks a service as an orchestrator does."""

from __future__ import annotations

import http.client
from contextlib import closing


def ask(port: int, path: str) -> tuple[int, str]:
    """Status and body. Raises OSError where nobody answers."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
