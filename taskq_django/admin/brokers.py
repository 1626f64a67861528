"""The brokers that a page can ask."""

from __future__ import annotations

from ..backend import brokers_of, our_backends
from ..brokers import Broker
from ..exceptions import ConfigurationError, one_line


def usable_brokers() -> tuple[list[Broker], list[str]]:
    """Those of all aliases, and why some cannot be made: what is wrong in the settings must not cost the page."""
    brokers: list[Broker] = []
    problems: list[str] = []
    for alias in our_backends():
        try:
            brokers.append(brokers_of((alias,))[alias])
        except ConfigurationError as error:
            problems.append(f"{alias}: {one_line(error)}")
    return brokers, problems
