"""The URL that says where jobs wait: ``OPTIONS["broker"]``. A password in it never reaches a message."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection
from dataclasses import dataclass

from ..exceptions import ConfigurationError, did_you_mean
from .declaration import Problem, listed

# Scheme of the URL -> the extra of ours that it needs; "" for none.
SCHEMES = {
    "database": "",
    "redis": "redis",
    "rediss": "redis",
    "cache": "redis",
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "pyamqp": "rabbitmq",
}
# A user, a password, host:port, and what follows. Greedy up to the last @: it is all secret.
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<login>.*@)?(?P<place>[^/?#@]*)(?P<rest>.*)", re.DOTALL)
_PLACE = re.compile(r"(?P<host>[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]+))?", re.ASCII)
_ALIAS = re.compile(r"[^\s/?#@:]*")


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where jobs wait. ``kind`` is the scheme of the URL."""

    kind: str
    database: str = ""  # alias in DATABASES; "" asks the project's routers


def parse_broker(url: str) -> BrokerAddress:
    """Read a broker URL; raises ConfigurationError, which shows it without its password."""
    found = _URL.fullmatch(url)
    if not found:
        raise ConfigurationError(f'"{masked(url)}" is no URL; write it like "redis://localhost:6379/0".')
    scheme, place, rest = found["scheme"].lower(), found["place"], found["rest"]
    if scheme not in SCHEMES:
        near = did_you_mean(scheme, SCHEMES)
        raise ConfigurationError(f'"{masked(url)}" has the unknown scheme "{scheme}". {near}'.rstrip())
    if scheme in ("database", "cache"):
        if found["login"] or rest.strip("/") or not _ALIAS.fullmatch(place):
            raise ConfigurationError(f'"{masked(url)}" must be {scheme}:// and an alias, no more.')
        return BrokerAddress(scheme, database=place if scheme == "database" else "")
    _check_server(url, found["login"] or "", place)
    return BrokerAddress(scheme)


def address_problem(url: str, where: str, databases: Collection[str]) -> Problem | None:
    """Why jobs cannot wait at ``url`` in this project with what is installed, or None."""
    try:
        address = parse_broker(url)
    except ConfigurationError as error:
        return Problem(where, f"is wrong: {error}", f"The schemes are {listed(SCHEMES)}.", "E004")
    if address.kind == "database":
        if not address.database or address.database in databases:
            return None
        near = did_you_mean(address.database, databases)
        message = f'names the database "{address.database}", which is not in DATABASES. {near}'
        return Problem(where, message.rstrip(), f"The aliases are {listed(databases)}.", "E005")
    later = 'This version of taskq_django sends through the database only: use "database://".'
    if importlib.util.find_spec("kombu") is None:
        install = f'Type: pip install "taskq-django[{SCHEMES[address.kind]}]".'
        return Problem(where, f'is "{masked(url)}", which needs kombu.', f"{install} {later}", "E006")
    return Problem(where, f'is "{masked(url)}", which is not available yet.', later, "E006")


def masked(url: str) -> str:
    """The URL with its scheme, host and port only."""
    found = _URL.fullmatch(url)
    if not found:
        word = re.match(r"[\w+.-]*", url, re.ASCII)
        return f"{word[0] if word and '@' not in url else ''}…"
    # Without an @, what stands after a colon may be a password and not a port.
    place = found["place"] if _PLACE.fullmatch(found["place"]) or not found["place"] else "…"
    login, rest = "***@" if found["login"] else "", "/…" if found["rest"].strip("/") else ""
    return f"{found['scheme']}://{login}{place}{rest}"


def _check_server(url: str, login: str, place: str) -> None:
    if re.search(r"[@/?#\s]", login[:-1]):
        raise ConfigurationError(
            f'"{masked(url)}" has a character in its user or password that must be percent-encoded: '
            "@ as %40, / as %2F, # as %23, ? as %3F."
        )
    server = _PLACE.fullmatch(place)
    if server and server["port"] and not 1 <= int(server["port"][:6]) <= 65_535:
        raise ConfigurationError(f'"{masked(url)}" has the port {server["port"][:6]}; it must be from 1 to 65535.')
    if not server:
        example = f"{url.partition(':')[0]}://host:port"
        raise ConfigurationError(f'"{masked(url)}" has no host, or none that can be read; write "{example}".')
