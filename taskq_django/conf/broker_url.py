"""The URL that says where jobs wait: ``OPTIONS["broker"]``. A password in it never reaches a message."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from ..exceptions import ConfigurationError, did_you_mean
from .declaration import listed
from .transport_options import KEPT_BACK


@dataclass(frozen=True, slots=True)
class Scheme:
    extra: str = ""  # of ours that it needs; "" for none
    transport: str = ""  # path of the class that carries its jobs; "" where only the store does
    parameters: tuple[str, ...] = ()  # what may follow a ? in it


REDIS = "taskq_django.brokers.kombu.redis.RedisTransport"
TLS = ("ca_certs", "ca_data", "ca_path", "cert_reqs", "certfile", "check_hostname", "ciphers", "keyfile", "password")
_SERVER = Scheme("redis", REDIS, (*(f"ssl_{name}" for name in TLS), "credential_provider"))

SCHEMES = {
    "database": Scheme(),
    "redis": _SERVER,
    "rediss": _SERVER,
    "redis+socket": Scheme("redis", REDIS, ("virtual_host", "credential_provider")),
    "sentinel": _SERVER,
    "cache": Scheme("redis", REDIS),
    "amqp": Scheme("rabbitmq"),
    "amqps": Scheme("rabbitmq"),
    "pyamqp": Scheme("rabbitmq"),
}

_LOSES = "loses the jobs of a process that dies"
_OTHERS = ("azureservicebus", "azurestoragequeues", "confluentkafka", "gcpubsub", "mongodb", "pgmq", "zookeeper")
# What else kombu can reach, and why jobs do not wait there.
REFUSED = {
    "memory": "keeps jobs in the memory of one process, and loses them with it",
    "filesystem": _LOSES,
    "sqlalchemy": _LOSES,
    "sqla": _LOSES,
    "sqs": "gives a job to a second worker when it takes longer than a timeout, and knows no priorities",
    **dict.fromkeys(_OTHERS, "has not been shown to lose no job and to confirm each"),
}

# A user, a password, host:port, and what follows. Greedy up to the last @: it is all secret.
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<login>.*@)?(?P<place>[^/?#@]*)(?P<rest>.*)", re.DOTALL)
_PLACE = re.compile(r"(?P<host>[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]+))?", re.ASCII)
_NUMBER = re.compile("(/[0-9]*)?", re.ASCII)
_SOCKET = re.compile("/[^?#]+")
_ALIAS = re.compile(r"[^\s/?#@:]*")
_TRUST = ("required", "optional", "none", "CERT_REQUIRED", "CERT_OPTIONAL", "CERT_NONE")


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where jobs wait. ``kind`` is the scheme of the URL."""

    kind: str
    database: str = ""  # alias in DATABASES; "" asks the project's routers
    cache: str = ""  # alias in CACHES
    trusts_anyone: bool = False  # Are certificates left unchecked?

    @property
    def transport(self) -> str:
        """Path of the class that carries its jobs; "" where they wait in the store alone."""
        return SCHEMES[self.kind].transport


def parse_broker(url: str) -> BrokerAddress:
    """Read a broker URL; raises ConfigurationError, which shows it without its password."""
    first, *more = servers = [_split(url, server) for server in _servers(url)]
    scheme, place, rest = first["scheme"].lower(), first["place"], first["rest"]
    if why := REFUSED.get(scheme):
        raise ConfigurationError(f'"{masked(url)}" is refused: over kombu, {scheme} {why}.')
    if scheme not in SCHEMES:
        near = did_you_mean(scheme, SCHEMES)
        raise ConfigurationError(f'"{masked(url)}" has the unknown scheme "{scheme}". {near}'.rstrip())
    if scheme in ("database", "cache"):
        if first["login"] or rest.strip("/") or not _ALIAS.fullmatch(place) or (scheme == "cache" and not place):
            raise ConfigurationError(f'"{masked(url)}" must be {scheme}:// and an alias, no more.')
        return BrokerAddress(scheme, place) if scheme == "database" else BrokerAddress(scheme, cache=place)
    _check_login(url, first["login"] or "")
    if scheme == "redis+socket":
        return BrokerAddress(scheme, trusts_anyone=_check_rest(url, scheme, place + rest, _SOCKET))
    for server in servers:
        _check_server(url, server["place"])
    if any(server["login"] or server["rest"] for server in more):
        raise ConfigurationError(f'"{masked(url)}" may have a password and a database in its first server only.')
    is_ours = bool(SCHEMES[scheme].transport)
    return BrokerAddress(scheme, trusts_anyone=is_ours and _check_rest(url, scheme, rest, _NUMBER))


def masked(url: str) -> str:
    """The URL with its scheme, host and port only, and of what is no URL of ours at most the scheme."""
    if len(servers := _servers(url)) > 1:
        return ";".join(map(masked, servers))
    found = _URL.fullmatch(url)
    if not found:
        word = re.match(r"[\w+.-]*", url, re.ASCII)
        return f"{word[0] if word and _is_nearly_a_scheme(word[0]) else ''}…"
    if found["scheme"].lower() not in SCHEMES:  # nobody knows what is meant by the rest
        return f"{found['scheme']}://…"
    # Without an @, what stands after a colon may be a password and not a port. A socket has a path and no host.
    has_host = _PLACE.fullmatch(found["place"]) and found["scheme"].lower() != "redis+socket"
    place = found["place"] if has_host or not found["place"] else "…"
    login, rest = "***@" if found["login"] else "", "/…" if found["rest"].strip("/") else ""
    return f"{found['scheme']}://{login}{place}{rest}"


def _is_nearly_a_scheme(word: str) -> bool:
    return word.lower() in SCHEMES or bool(did_you_mean(word.lower(), SCHEMES))


def _servers(url: str) -> list[str]:
    """Sentinels are several servers, each as a URL, with a ; between them."""
    servers = url.split(";")
    return servers if all(server.lower().startswith("sentinel://") for server in servers) else [url]


def _split(url: str, server: str) -> re.Match[str]:
    found = _URL.fullmatch(server)
    if not found:
        raise ConfigurationError(f'"{masked(url)}" is no URL; write it like "redis://localhost:6379/0".')
    return found


def _check_login(url: str, login: str) -> None:
    if re.search(r"[@/?#;\s]", login[:-1]):
        raise ConfigurationError(
            f'"{masked(url)}" has a character in its user or password that must be percent-encoded: '
            "@ as %40, / as %2F, # as %23, ? as %3F, ; as %3B."
        )


def _check_server(url: str, place: str) -> None:
    server = _PLACE.fullmatch(place)
    if server and server["port"] and not 1 <= int(server["port"][:6]) <= 65_535:
        raise ConfigurationError(f'"{masked(url)}" has the port {server["port"][:6]}; it must be from 1 to 65535.')
    if not server:
        example = f"{url.partition(':')[0]}://host:port"
        raise ConfigurationError(f'"{masked(url)}" has no host, or none that can be read; write "{example}".')


def _check_rest(url: str, scheme: str, rest: str, path: re.Pattern[str]) -> bool:
    """What follows the server. Returns whether certificates are left unchecked."""
    where, _, query = rest.partition("?")
    if not path.fullmatch(where) or "#" in query:
        example = "redis+socket:///path/of/it" if path is _SOCKET else f"{scheme}://host:port/0"
        raise ConfigurationError(f'"{masked(url)}" cannot be read to its end; write it like "{example}".')
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    known = SCHEMES[scheme].parameters
    for name in parameters:
        if name in KEPT_BACK:
            raise ConfigurationError(f'"{masked(url)}" has "{name}" after its ?, which {KEPT_BACK[name]}.')
        if name not in known:  # and may be a part of a password
            near = did_you_mean(name, known)
            raise ConfigurationError(f'"{masked(url)}" has an unknown name after its ?. {near}'.rstrip())
    trust = parameters.get("ssl_cert_reqs", "required")
    if trust not in _TRUST:
        raise ConfigurationError(f'"{masked(url)}" has a wrong ssl_cert_reqs; it must be one of {listed(_TRUST[:3])}.')
    return trust in ("none", "CERT_NONE")
