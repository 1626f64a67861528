"""Checks of where jobs, results and what the admin reads are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import Tags
from django.db import connections, router

from ..conf import option_problems
from ..conf.declaration import Problem, listed
from .messages import TAG, reports

ROUTER = "taskq_django.DatabaseRouter"


@reports()
def check_databases(**kwargs: Any) -> Iterable[Problem]:
    """Whether jobs, results and what the admin reads are in one place that can hold them. Does not connect."""
    if not (databases := databases_of_backends()):
        return []
    return list(_unfit(databases)) or list(_routing_problems(databases)) or _advice(databases)


@reports(Tags.database)
def check_servers(databases: Sequence[str] | None = None, **kwargs: Any) -> Iterator[Problem]:
    """The versions of the servers; connects, so only where Django asks for it: check --database, migrate."""
    from ..store.dialects.vendors import dialect_of, is_supported

    for database in dict.fromkeys(databases_of_backends().values()):
        connection = connections[database] if database in (databases or ()) else None
        if connection and is_supported(connection) and (needed := dialect_of(connection).needs(connection)):
            yield Problem(f'DATABASES["{database}"]', f"must be at least {needed} to hold jobs.", "", "E014")


def databases_of_backends() -> dict[str, str]:
    """The alias in DATABASES where each alias in TASKS keeps its jobs; without backends whose options are wrong."""
    if not isinstance(getattr(settings, "TASKS", {}), Mapping):
        return {}
    from ..backend import our_backends
    from ..compat import task_backends

    found: dict[str, str] = {}
    for alias in our_backends():
        backend: Any = task_backends[alias]
        if not option_problems(alias, backend.options):
            found[alias] = backend.broker.database
    return found


def _unfit(databases: Mapping[str, str]) -> Iterator[Problem]:
    from ..store.dialects.vendors import VENDORS, is_supported

    hint = f'Supported are {listed(VENDORS)}: name such a database in OPTIONS["broker"], as "database://ALIAS".'
    for alias, database in databases.items():
        if not is_supported(connections[database]):
            message = f'keeps its jobs in DATABASES["{database}"], which is {connections[database].display_name}.'
            yield Problem(f'TASKS["{alias}"]', message, hint, "E011")
    for database in dict.fromkeys(databases.values()):
        if not connections[database].settings_dict["AUTOCOMMIT"]:
            message = "has AUTOCOMMIT = False: nobody would commit what workers and beats write, and no job would end."
            hint = "Leave AUTOCOMMIT out there and write in transaction.atomic(), or keep the jobs in another database."
            yield Problem(f'DATABASES["{database}"]', message, hint, "E018")


def _routing_problems(databases: Mapping[str, str]) -> Iterator[Problem]:
    models = list(apps.get_app_config(TAG).get_models())
    homes = {model.__name__: router.db_for_write(model) for model in models}
    if len(set(homes.values())) > 1:
        places = ", ".join(f'{name} to "{home}"' for name, home in homes.items())
        message = f"send the models of taskq_django to different databases: {places}."
        hint = "A job and its result are written in one transaction: send all models of this app to one database."
        yield Problem("DATABASE_ROUTERS", message, hint, "E012")
    for alias, database in databases.items():
        if not all(router.allow_migrate_model(database, model) for model in models):
            message = f'keeps its jobs in DATABASES["{database}"], where your routers let migrate make no tables of it.'
            hint = "Let allow_migrate of your routers return True for this database and the app taskq_django."
            yield Problem(f'TASKS["{alias}"]', message, hint, "E013")


def _advice(databases: Mapping[str, str]) -> Iterator[Problem]:
    from ..models import JobResult
    from ..store.dialects.advice import setting_problems

    home = router.db_for_write(JobResult)
    for alias, database in databases.items():
        if database != home:
            message = f'keeps its jobs in DATABASES["{database}"], where the admin does not look.'
            hint = f'The jobs run all the same. To see them, set DATABASE_ROUTERS = ["{ROUTER}"], your own after it'
            hint += ", and keep the jobs of all backends in one database."
            yield Problem(f'TASKS["{alias}"]', message, hint, "W001")
    for database in dict.fromkeys(databases.values()):
        yield from setting_problems(connections[database])
