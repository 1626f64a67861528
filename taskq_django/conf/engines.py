"""What is wrong in the options that say where jobs wait, and which of them say nothing."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.module_loading import import_string

from ..exceptions import ConfigurationError, did_you_mean
from .broker_url import SCHEMES, BrokerAddress, masked, parse_broker
from .declaration import Problem, listed
from .transport_options import KEPT_BACK

if TYPE_CHECKING:
    from .backend_options import BackendOptions

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
OF_REDIS = ("name", "transport_options")
OF_ENGINES = ("outbox", "celery_compatible")
OF_DATABASES = ("bell",)

_PACKAGES = {"redis": ("kombu", "redis", "packaging"), "rabbitmq": ("kombu",)}
_CACHES = ("django_redis.cache", "django.core.cache.backends.redis")  # modules of the classes that can be used


def name_problem(name: str) -> str | None:
    """What is wrong with it in the names of keys, as the end of a sentence."""
    return None if NAME.fullmatch(name) else "it must be 1 to 64 of the characters A-Z a-z 0-9 _ . -"


def engine_problems(alias: str, options: BackendOptions, where: str) -> Iterator[Problem]:
    """Why jobs cannot wait there in this project, with what is installed."""
    found = [_address_problem(options.broker, f'{where}["broker"]')]
    if options.bell is not None:
        found.append(_bell_problem(options.bell, f'{where}["bell"]'))
    if any(found):
        yield from filter(None, found)
        return
    broker = parse_broker(options.broker)
    engine = broker if broker.transport or options.bell is None else parse_broker(options.bell)
    if not engine.transport:
        return
    if options.name is None and (wrong := name_problem(alias)):
        message = f"is that of its alias, which cannot be used: {wrong}."
        yield Problem(f'{where}["name"]', message, 'Set another: "name" is what its keys begin with.', "E003")
    yield from _transport_problems(options.transport_options, engine, f'{where}["transport_options"]')


def engine_advice(options: BackendOptions, where: str) -> Iterator[Problem]:
    """What is idle or a risk in options that are right."""
    has_engine = bool(parse_broker(options.broker).transport)
    idle = OF_DATABASES if has_engine else OF_ENGINES if options.bell else (*OF_REDIS, *OF_ENGINES)
    for name in idle:
        if getattr(options, name):
            message = f"changes nothing where jobs wait in {'Redis' if has_engine else 'the database'}."
            yield Problem(f'{where}["{name}"]', message, "Remove it.", "W011")
    for name, url in (("broker", options.broker), ("bell", options.bell)):
        if url and parse_broker(url).trusts_anyone:
            message = f'is "{masked(url)}" with ssl_cert_reqs=none: whoever answers there is taken for the server.'
            hint = "Name who has signed its certificate instead, as ?ssl_ca_certs=/path/of/ca.pem."
            yield Problem(f'{where}["{name}"]', message, hint, "W012")


def _address_problem(url: str, where: str) -> Problem | None:
    try:
        address = parse_broker(url)
    except ConfigurationError as error:
        return Problem(where, f"is wrong: {error}", f"The schemes are {listed(SCHEMES)}.", "E004")
    if address.kind == "database":
        return _alias_problem(address.database, "database", "DATABASES", where) if address.database else None
    if address.kind == "cache" and (problem := _cache_problem(address.cache, where)):
        return problem
    extra = SCHEMES[address.kind].extra
    if missing := [name for name in _needed(address) if not _is_installed(name)]:
        message = f'is "{masked(url)}", which needs {", ".join(missing)}.'
        return Problem(where, message, f'Type: pip install "taskq-django[{extra}]".', "E006")
    if not address.transport:
        hint = 'This version of taskq_django sends through the database ("database://") and Redis ("redis://…").'
        return Problem(where, f'is "{masked(url)}", which is not available yet.', hint, "E006")
    return None


def _bell_problem(url: str, where: str) -> Problem | None:
    problem = _address_problem(url, where)
    if problem or parse_broker(url).transport:
        return problem
    return Problem(where, f'is "{masked(url)}", which is no Redis.', 'Write it as "redis://localhost:6379/0".', "E004")


def _alias_problem(alias: str, kind: str, setting: str, where: str) -> Problem | None:
    aliases: Mapping[str, Any] = getattr(settings, setting)
    if alias in aliases:
        return None
    near = did_you_mean(alias, aliases)
    message = f'names the {kind} "{alias}", which is not in {setting}. {near}'
    return Problem(where, message.rstrip(), f"The aliases are {listed(aliases)}.", "E005")


def _cache_problem(alias: str, where: str) -> Problem | None:
    if problem := _alias_problem(alias, "cache", "CACHES", where):
        return problem
    path = settings.CACHES[alias].get("BACKEND", "")
    # By the names of modules, because importing them may need what is not installed.
    try:
        modules = {kind.__module__ for kind in import_string(path).__mro__}
    except ImportError:
        modules = {path.rpartition(".")[0]}
    if modules & set(_CACHES):
        return None
    hint = 'Use one with "django_redis.cache.RedisCache" or "django.core.cache.backends.redis.RedisCache".'
    return Problem(
        where, f'names the cache "{alias}", which is not kept in Redis: its BACKEND is "{path}".', hint, "E005"
    )


def _needed(address: BrokerAddress) -> tuple[str, ...]:
    """The packages without which it cannot be reached."""
    packages = _PACKAGES[SCHEMES[address.kind].extra]
    is_django_redis = address.cache and settings.CACHES[address.cache]["BACKEND"].startswith("django_redis.")
    return (*packages, "django_redis") if is_django_redis else packages


def _is_installed(package: str) -> bool:
    # What is imported is asked for first: kombu has no __spec__ then, which find_spec does not forgive.
    return sys.modules.get(package) is not None or importlib.util.find_spec(package) is not None


def _transport_problems(given: Mapping[str, Any], broker: BrokerAddress, where: str) -> Iterator[Problem]:
    of_sentinels = given.get("sentinel_kwargs", {})
    for names in (given, of_sentinels if isinstance(of_sentinels, Mapping) else {}):
        for name in names:
            if why := KEPT_BACK.get(name):
                yield Problem(f'{where}["{name}"]', f"{why}.", "Remove it.", "E003")
    if not isinstance(of_sentinels, Mapping):
        yield Problem(f'{where}["sentinel_kwargs"]', "must be a dict.", "", "E003")
    if broker.kind == "sentinel" and not isinstance(given.get("master_name"), str):
        message = "must have the name by which the sentinels know the master."
        yield Problem(f'{where}["master_name"]', message, 'Write {"master_name": "mymaster"}.', "E003")
