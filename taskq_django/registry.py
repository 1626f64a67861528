"""Which tasks this process knows, by path."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pkgutil import iter_modules
from time import monotonic
from types import ModuleType
from typing import Any

from django.apps import apps
from django.utils.module_loading import autodiscover_modules

from . import compat
from .exceptions import TaskNotFound
from .modules import has_task, is_there, may_hold_tasks, source_of
from .tasks import Task, wrapped

OF_TESTS = re.compile(r"(tests?|conftest|__main__|test_.*|.*_tests?)")


class Registry:
    """The tasks of this process by path. Filled while modules are imported, read by every thread."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task[..., Any]] = {}
        self._importing: set[str] = set()  # modules, by ``find``
        self._in_vain: dict[str, float] = {}  # by module: until when it is not asked for again
        self.duplicates: list[tuple[str, str, str]] = []  # path, first and second "file:line"
        self.unloaded: list[tuple[str, str]] = []  # modules that ``discover`` could not import, and why

    def discover(self) -> None:
        """Import ``tasks`` of each app, and where that is a package all of its modules, but for those of tests."""
        autodiscover_modules("tasks")
        for config in apps.get_app_configs():
            if package := sys.modules.get(f"{config.name}.tasks"):
                self._import_below(package)

    def _import_below(self, package: ModuleType) -> None:
        for found in iter_modules(getattr(package, "__path__", ()), f"{package.__name__}."):
            if OF_TESTS.fullmatch(found.name.rpartition(".")[2]):
                continue
            try:
                module = import_module(found.name)
            except Exception as error:  # of a module that is no task's, say, it must not end every command
                self._forget(found.name)
                self.unloaded.append((found.name, repr(error)))
                continue
            self._import_below(module)

    def _forget(self, module: str) -> None:
        """Its import has failed: the tasks above that line must not run either."""
        self._tasks = {path: task for path, task in self._tasks.items() if task.func.__module__ != module}

    def add(self, given: compat.AnyTask) -> None:
        """Note a task that a backend of ours has accepted; copies made by ``using`` are the same task."""
        task = wrapped(given)
        path = task.module_path
        known = self._tasks.get(path)
        if known is None:
            self._tasks[path] = task
        elif known.func is not task.func:
            if _location(known) != _location(task):  # else the module was loaded anew
                self.duplicates.append((path, _location(known), _location(task)))
            self._tasks[path] = task
        for alias in task.aliases:
            self._tasks.setdefault(alias, task)

    def get(self, path: str) -> Task[..., Any] | None:
        """The task of that path, if this process knows it already, and all of its module."""
        task = self._tasks.get(path)
        return None if self._importing and task is not None and self._is_half_there(task) else task

    def find(self, path: str) -> Task[..., Any]:
        """The task of that path; imports its module when that is the project's and its source has the task.

        Raises TaskNotFound. Nothing but a registered task can be reached by name.
        """
        task = self._tasks.get(path)
        # For one that is half there, the import waits for the thread that is importing its module.
        if task is None or (self._importing and self._is_half_there(task)):
            self._import_module_of(path if task is None else task.module_path)
            task = self._tasks.get(path)
        if task is None:
            raise TaskNotFound(f"No task is registered as {path!r}. {_remedy(path)}")
        return task

    def seek(self, path: str) -> Task[..., Any] | None:
        """As ``find``, but None for what is unknown: for pages, which ask for the tasks of many rows.

        A module that could not be imported is not tried again for a minute.
        """
        task = self._tasks.get(path)
        module = path.rpartition(".")[0]
        if task is not None or monotonic() < self._in_vain.get(module, 0):
            return task
        try:
            return self.find(path)
        except TaskNotFound:
            if len(self._in_vain) > 1000:
                self._in_vain.clear()
            self._in_vain[module] = monotonic() + 60
            return None

    def all(self) -> list[Task[..., Any]]:
        """Every task once, by path."""
        return [task for path, task in sorted(self._tasks.items()) if task.module_path == path]

    def _is_half_there(self, task: Task[..., Any]) -> bool:
        """Is its module being imported now? What stands below the task is not there yet."""
        return task.func.__module__ in self._importing

    def _import_module_of(self, path: str) -> None:
        module, _, name = path.rpartition(".")
        if not may_hold_tasks(module):
            return
        if module not in sys.modules and not has_task(source_of(module), name):
            return
        self._importing.add(module)
        try:
            found = getattr(import_module(module), name, None)
        except BaseException as error:
            self._forget(module)
            if not isinstance(error, Exception | SystemExit):
                raise
            raise TaskNotFound(f"The module of task {path!r} cannot be imported: {error!r}") from error
        finally:
            self._importing.discard(module)
        if isinstance(found, compat.Task):  # built before this app's default for TASKS was there
            self.add(found)


def _remedy(path: str) -> str:
    """What to do about a path that leads to no task."""
    if is_there(path) and not may_hold_tasks(path):
        return (
            "Its module is not looked for, because it is neither in the package of an installed app nor beside the "
            "project's own packages: import it in the tasks.py of an app."
        )
    return "If it was renamed, put its old path into @task(aliases=[…]); if it is new, deploy the code to this worker."


def _location(task: Task[..., Any]) -> str:
    code = getattr(task.func, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else "?"


registry = Registry()
