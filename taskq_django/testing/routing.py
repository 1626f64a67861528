"""A project whose jobs wait in Redis or RabbitMQ runs its tests without either."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.test import override_settings

from ..backend import our_backends
from ..conf.broker_url import parse_broker
from ..exceptions import ConfigurationError


@contextmanager
def without_engines() -> Iterator[None]:
    """Let the jobs of every backend wait in the project's database; the settings stay as they are where all do."""
    routed = {alias: _routed(settings.TASKS[alias]) for alias in our_backends()}
    if all(settings.TASKS[alias] is params for alias, params in routed.items()):
        yield
        return
    with override_settings(TASKS={**settings.TASKS, **routed}):
        yield


def _routed(params: Any) -> Any:
    """Without what speaks to a service: its URL, and the options that only it has. The same where there is none."""
    options = params.get("OPTIONS")
    if not isinstance(options, Mapping) or not (_has_engine(options.get("broker")) or options.get("bell")):
        return params
    kept = {name: options[name] for name in ("max_payload",) if name in options}
    if not _has_engine(options.get("broker")) and "broker" in options:
        kept["broker"] = options["broker"]
    return {**params, "OPTIONS": kept}


def _has_engine(url: object) -> bool:
    if not isinstance(url, str):
        return False
    try:
        return parse_broker(url).kind != "database"
    except ConfigurationError:
        return False  # what is wrong stays, and is refused as everywhere
