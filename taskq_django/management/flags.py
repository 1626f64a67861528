"""The flags of the commands: those of settings, those that several have, and how numbers are read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.core.management.base import CommandParser

from ..conf.declaration import Option, options

METAVARS = {"s": "SECONDS", "MiB": "MIB"}  # by unit


def add_options(parser: CommandParser, section: type[Any], *only: str) -> None:
    """A flag for each setting of a section that has one, or for ``only`` these."""
    for option in options(section):
        if option.flag and (not only or option.name in only):
            names = [option.short, option.flag] if option.short else [option.flag]
            text = f"{option.doc} Default: {option.default_text}."
            shape: dict[str, Any] = {"metavar": METAVARS.get(option.unit, "N" if option.kind is int else None)}
            if option.kind is tuple:  # what is given twice is added
                shape = {"metavar": "NAME,NAME", "action": "extend"}
                text = f"{option.doc} Several have commas between them. Default: none."
            parser.add_argument(*names, dest=option.name, type=_reader(option), help=text.replace("%", "%%"), **shape)


def chosen_values(settings: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values in force of a section: the flag's, where it was given."""
    return {
        option.name: getattr(settings, option.name)
        if (value := given.get(option.name)) is None
        else (tuple(dict.fromkeys(value)) if option.kind is tuple else value)
        for option in options(type(settings))
    }


def number(kind: type[int] | type[float], least: float, most: float = 1_000_000) -> Callable[[str], Any]:
    """The ``type`` of a flag."""
    return _reader(Option(default=None, doc="", kind=kind, minimum=least, maximum=most))


def add_backend(parser: CommandParser) -> None:
    parser.add_argument(
        "--backend", action="append", help="Alias in TASKS; may be given more than once. Default: all of ours."
    )


def add_probes(parser: CommandParser) -> None:
    parser.add_argument(
        "--health-port",
        type=_read_address,
        metavar="[HOST:]PORT",
        help="Answer GET /live and GET /ready there, with 200 or 503. Without HOST: on each IPv4 address of this host. "
        "Default: no port.",
    )
    parser.add_argument(
        "--heartbeat-file",
        metavar="PATH",
        help="Write a sign of life into this file every second. Default: no file.",
    )


def add_no_input(parser: CommandParser) -> None:
    """By both names that it has in Django."""
    parser.add_argument("--noinput", "--no-input", action="store_false", dest="interactive", help="Do not ask.")


def add_ids(parser: CommandParser, nargs: str) -> None:
    parser.add_argument("ids", nargs=nargs, metavar="ID", help="Of a job; - reads more of them from standard input.")


def read_ids(given: Iterable[str]) -> list[str]:
    """A command line has room for some thousand ids, standard input for all."""
    return [id_ for each in given for id_ in (sys.stdin.read().split() if each == "-" else [each])]


def _read_address(text: str) -> tuple[str, int]:
    """``8089``, ``127.0.0.1:8089`` or ``[::1]:8089``."""
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise argparse.ArgumentTypeError(f"{text} is no address: write [{host}]:{port}")
    return host or "0.0.0.0", number(int, 1, 65_535)(port)  # noqa: S104 - an orchestrator asks from outside


def _reader(option: Option) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return option.from_text(text)
        except ValueError as error:
            # In settings a time may be a timedelta.
            raise argparse.ArgumentTypeError(str(error).replace(", or a timedelta", "")) from None

    return read
