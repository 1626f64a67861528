"""Sphinx. The settings and flags in the reference are listed from their one declaration in the code."""

from __future__ import annotations

import sys
from pathlib import Path

import django
from django.conf import settings
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
settings.configure(INSTALLED_APPS=["taskq_django"])
django.setup()

import taskq_django  # noqa: E402
from taskq_django import conf  # noqa: E402
from taskq_django.declaration import options  # noqa: E402

project = "taskq_django"
copyright = "2026, the taskq_django contributors"  # noqa: A001
release = taskq_django.__version__
extensions: list[str] = []
html_theme = "furo"
exclude_patterns = ["_build", "changes"]


class Options(Directive):
    """``.. options:: WORKER`` lists a section of TASKQ; ``OPTIONS`` those of a backend; ``flags`` a worker's flags."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        section = self.arguments[0]
        lines: list[str] = []
        if section == "flags":
            for option in options(conf.Worker):
                if option.flag:
                    names = ", ".join(f"``{name}``" for name in (option.short, option.flag) if name)
                    lines += [f"{names}", f"   {option.doc} Default: {option.default_text}.", ""]
        else:
            kind = conf.BackendOptions if section == "OPTIONS" else conf.SECTIONS[section]
            for option in options(kind):
                name = option.name if section == "OPTIONS" else option.name.upper()
                unit = f" ({option.unit})" if option.unit else ""
                flag = f" Flag: ``{option.flag}``." if option.flag else ""
                lines += [f"``{name}``{unit}", f"   {option.doc} Default: ``{option.default_text}``.{flag}", ""]
        node = nodes.section()
        node.document = self.state.document
        self.state.nested_parse(StringList(lines, source=section), self.content_offset, node)
        return list(node.children)


def setup(app) -> None:
    app.add_directive("options", Options)
