"""Directives that list settings, flags, checks and signals from their one declaration in the code."""

from __future__ import annotations

from argparse import Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator

from django.core.management import BaseCommand, load_command_class
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from taskq_django import conf, signals
from taskq_django.checks import CHECKS, TAG
from taskq_django.conf.declaration import options


class Listing(Directive):
    """A list of names, each with its paragraph."""

    def run(self) -> list[nodes.Node]:
        lines: list[str] = []
        for name, text in self.entries():
            lines += [name, *f"   {text}".split("\n"), ""]
        node = nodes.section()
        node.document = self.state.document
        self.state.nested_parse(StringList(lines, source=self.name), self.content_offset, node)
        return list(node.children)

    def entries(self) -> Iterator[tuple[str, str]]:
        raise NotImplementedError


class Options(Listing):
    """``.. options:: WORKER`` lists a section of TASKQ; ``OPTIONS`` those of a backend."""

    required_arguments = 1

    def entries(self) -> Iterator[tuple[str, str]]:
        section = self.arguments[0]
        kind = conf.BackendOptions if section == "OPTIONS" else conf.SECTIONS[section]
        for option in options(kind):
            name = option.name if section == "OPTIONS" else option.name.upper()
            unit = f" ({option.unit})" if option.unit else ""
            flag = f" Flag: ``{option.flag}``." if option.flag else ""
            yield f"``{name}``{unit}", f"{option.doc} Default: ``{option.default_text}``.{flag}"


class Command(Listing):
    """``.. command:: taskq_worker`` lists the flags that the command adds to those of every Django command."""

    required_arguments = 1

    def entries(self) -> Iterator[tuple[str, str]]:
        stock = BaseCommand().create_parser("manage.py", "")
        parser = load_command_class("taskq_django", self.arguments[0]).create_parser("manage.py", self.arguments[0])
        yield from self.flags(parser, {name for action in stock._actions for name in action.option_strings})

    def flags(self, parser: ArgumentParser, known: set[str]) -> Iterator[tuple[str, str]]:
        for action in parser._actions:
            if known & set(action.option_strings):
                continue
            if isinstance(action, _SubParsersAction):
                for verb in action._choices_actions:
                    yield (
                        f"``{verb.dest}``",
                        "\n".join([_text(verb), "", *self.nested(action.choices[verb.dest], known)]),
                    )
            else:
                names = ", ".join(f"``{name}``" for name in action.option_strings or [action.metavar or action.dest])
                yield names, _text(action)

    def nested(self, parser: ArgumentParser, known: set[str]) -> Iterator[str]:
        for names, text in self.flags(parser, known):
            yield from (f"   {names}", f"      {text}")


def _text(action: Action) -> str:
    return (action.help or "").replace("%%", "%")


class Checks(Listing):
    def entries(self) -> Iterator[tuple[str, str]]:
        for number, text in CHECKS.items():
            yield f"``{TAG}.{number}``", text


class Signals(Listing):
    def entries(self) -> Iterator[tuple[str, str]]:
        for name, hook in vars(signals).items():
            if isinstance(hook, signals.Hook):
                yield f"``{name}(sender, {hook.arguments})``", hook.doc


def setup(app) -> None:
    app.add_directive("options", Options)
    app.add_directive("command", Command)
    app.add_directive("checks", Checks)
    app.add_directive("signals", Signals)
