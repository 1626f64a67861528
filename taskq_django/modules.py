"""Which modules may be imported because a job names a task in them.

To import a module runs it, and a stored path must not choose what runs.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from pkgutil import get_importer

from django.apps import apps
from django.conf import settings

INSTALLED = {"site-packages", "dist-packages"}  # the folders in which pip and Debian put packages


def may_hold_tasks(module: str) -> bool:
    """Is it in the package of an app, or of the settings, or beside such a package that is the project's own?"""
    top = module.partition(".")[0]
    known = {config.name.partition(".")[0] for config in apps.get_app_configs()}
    known.add((settings.SETTINGS_MODULE or "").partition(".")[0])
    if top in known:
        return True
    homes = {place.parent for each in known for place in _places(each) if place.parent.name not in INSTALLED}
    return any(place.parent in homes and not _holds_uploads(place) for place in _places(top))


def is_there(module: str) -> bool:
    """Could its package be imported?"""
    return next(_places(module.partition(".")[0]), None) is not None


def _places(top: str) -> Iterator[Path]:
    """The file, or the folders, of a module or package at the top; what is built into Python has none."""
    try:
        spec = find_spec(top) if top.isidentifier() else None
    except (ImportError, ValueError):  # ValueError for __main__
        return
    if spec is not None and spec.submodule_search_locations:
        yield from map(Path, spec.submodule_search_locations)
    elif spec is not None and spec.has_location and spec.origin:
        yield Path(spec.origin)


def _holds_uploads(place: Path) -> bool:
    """What users of the site can write is no code of its own, whatever its name ends with."""
    return any(root and Path(root).is_relative_to(place) for root in (settings.MEDIA_ROOT, settings.STATIC_ROOT))


def source_of(module: str) -> str:
    """Its text, read without an import of it or of a package on the way; "" where there is none."""
    name, *parts = module.split(".")
    try:
        spec = find_spec(name)
        for part in parts:
            loaded = sys.modules.get(name)
            folders = loaded.__path__ if loaded is not None else spec.submodule_search_locations  # type: ignore[union-attr]
            name = f"{name}.{part}"
            finders = (get_importer(folder) for folder in folders)  # type: ignore[union-attr]
            spec = next(found for each in finders if each is not None and (found := each.find_spec(name)))
        return spec.loader.get_source(name) or ""  # type: ignore[union-attr]
    except (AttributeError, ImportError, OSError, StopIteration, SyntaxError, TypeError, ValueError):
        return ""  # no module, or none that is written in Python


def has_task(source: str, name: str) -> bool:
    """Has it, outside of functions and classes, a function of this name under a decorator?"""
    if name not in source:
        return False
    try:
        return _defines(ast.parse(source), name)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True  # the import will say what is wrong with it, and runs nothing of it


def _defines(node: ast.AST, name: str) -> bool:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, functions) and child.name == name and child.decorator_list:
            return True
        if not isinstance(child, (*functions, ast.ClassDef)) and _defines(child, name):
            return True
    return False
