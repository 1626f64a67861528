"""What of kombu's own options is not the project's to choose."""

from __future__ import annotations

_TWICE = "could send a command twice, and the second would find what the first has done"
_OURS = "is set by taskq_django itself"

KEPT_BACK = {
    **dict.fromkeys(("retry", "retry_on_error", "retry_on_timeout", "retry_policy"), _TWICE),
    "health_check_interval": "asks before a command whether the server is there, and so makes a lost answer unclear",
    **dict.fromkeys(("decode_responses", "max_connections", "own_pool", "protocol"), _OURS),
    "socket_timeout": f"{_OURS}: nobody waits for longer than 2 s",
    "socket_connect_timeout": f"{_OURS}: to 1 s",
}
