"""The pages in other languages than English."""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils.translation import override, trans_real

from taskq_django.admin import display
from taskq_django.models import Schedule
from taskq_django.schedules import read_kind
from tests.support import languages, section
from tests.support.schedule_pages import schedule

PLACES = re.compile(r"%\((\w+)\)\w|%\w|\{\w*\}")
GERMAN = languages.LOCALE / "de" / "LC_MESSAGES" / "django.po"

# What needs no translation: figures with their units, and names of formats.
UNIVERSAL = re.compile(r"\d{4}-\d\d-\d\d [\d:]+ [\w/]+|\b(ms|s|min|h|d|MiB|p50|p95|JSON|UTC|DST)\b|×")
# In these a text is of machines, or somebody has written it: each is isolated from the direction of the page.
ISOLATED = {"bdi", "code", "pre", "textarea"}
# By the style sheet, where Django writes the element, or where most of it is by machines.
PLAIN = {"field-queue_name", "taskq-name", "taskq-path", "taskq-reason", "taskq-runs", "taskq-spec", "taskq-text"}
PLAIN |= {"taskq-words", "taskq-zone"}
PLAIN_PARTS = {"taskq-preview", "changelist-filter"}  # and by their ids
MACHINE = re.compile(r"[\w./+-]+|\".*\"")
OF_DJANGO = {"Search"}  # the alternative text of an image
VOID = {"br", "hr", "img", "input", "link", "meta", "rect", "path", "use"}
SHOWN = ("title", "aria-label", "placeholder", "alt", "data-pause", "data-resume", "data-copy", "data-copied")


class Marked(gettext.NullTranslations):
    """A language in which each text is itself between two marks."""

    def gettext(self, message: str) -> str:
        return f"⟦{message.rpartition(chr(4))[2]}⟧"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)

    def to_language(self) -> str:
        return "en"

    def language(self) -> str:
        return "en"


class Unmarked(HTMLParser):
    """``found``: the texts of the content that are neither marked nor isolated."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._open: list[tuple[str, bool, bool]] = []  # tag, is it of the content, is it isolated
        self._depth = 0  # of the marks that are open: an element may be in the middle of a text

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        _, is_content, is_isolated = self._open[-1] if self._open else ("", False, False)
        classes = set((given.get("class") or "").split())
        is_content |= given.get("id") == "content" or tag == "main" or "taskq-crumbs" in classes
        is_isolated |= tag in ISOLATED or given.get("dir") in {"ltr", "auto"} or bool(classes & PLAIN)
        is_isolated |= given.get("id") in PLAIN_PARTS
        # The label of an argument is its name, and of a choice of the code's the choice itself.
        is_isolated |= (given.get("for") or given.get("name") or "").startswith(("id_arg-", "arg-"))
        is_isolated |= tag in {"script", "style"}
        is_isolated |= tag == "option" and bool(MACHINE.fullmatch(given.get("value") or ""))
        if is_content and not is_isolated:
            for name in SHOWN:
                text = given.get(name) or ""
                if name != "title" or " " in text:  # a name that is cut off, as it is
                    self._look(text, 0)
            if tag == "input" and given.get("type") == "submit":
                self._look(given.get("value") or "", 0)
        if tag not in VOID:
            self._open.append((tag, is_content, is_isolated))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        _, is_content, is_isolated = self._open[-1] if self._open else ("", False, False)
        if is_content and not is_isolated:
            self._depth = self._look(data, self._depth)

    def _look(self, text: str, depth: int) -> int:
        """Keeps a text of which letters stand beside its marks; returns how many marks are open at its end."""
        beside = ""
        for sign in text:
            depth += (sign == "⟦") - (sign == "⟧")
            beside += sign if not depth else ""
        if re.search(r"[^\W\d_]", UNIVERSAL.sub("", beside)):
            self.found.append(" ".join(text.split()))
        return depth


@pytest.fixture
def marked(admin_user: User) -> Iterator[None]:
    trans_real._active.value = Marked()  # type: ignore[attr-defined]
    yield
    del trans_real._active.value  # type: ignore[attr-defined]


@pytest.mark.django_db
def test_every_text_of_a_page_can_be_translated_or_is_isolated(
    admin_client: Client, marked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = section.of_a_busy_day(monkeypatch)
    names = set(Schedule.objects.values_list("name", flat=True))  # in headings of Django's own
    found: dict[str, list[str]] = {}
    for name, address in addresses.items():
        reader = Unmarked()
        answer = admin_client.get(address)
        assert answer.status_code == 200, name
        reader.feed(answer.content.decode())
        if unmarked := set(reader.found) - names - OF_DJANGO:
            found[name] = sorted(unmarked)
    assert found == {}


def test_german_is_complete() -> None:
    catalogue, is_fuzzy = languages.read_po(GERMAN)
    assert not is_fuzzy
    assert catalogue.keys() - {("",)} == languages.said()
    assert [names for names, values in catalogue.items() if not all(values)] == []


def test_a_translation_has_the_places_of_its_text() -> None:
    wrong = []
    for names, values in languages.read_po(GERMAN)[0].items():
        for name, value in zip(names, values, strict=True) if names != ("",) else ():
            if sorted(PLACES.findall(name)) != sorted(PLACES.findall(value)):
                wrong.append((name, value))
    assert wrong == []


def test_what_is_compiled_is_what_is_written() -> None:
    for path in languages.LOCALE.glob("*/LC_MESSAGES/django.po"):
        catalogue, _ = languages.read_po(path)
        assert path.with_suffix(".mo").read_bytes() == languages.compiled(catalogue)


@pytest.mark.django_db
def test_a_page_speaks_german(admin_client: Client) -> None:
    with override("de"):
        page = admin_client.get(section.of("jobresult")).content.decode()
    assert "Noch ist kein Job beendet." in page
    assert "Fehlgeschlagen" in page


@pytest.mark.parametrize(
    ("kind", "spec", "text"),
    [
        ("cron", "30 6 * * 1", "Um 06:30, nur am Montag"),
        ("interval", "90 minutes", "Alle 1 Stunde 30 Minuten"),
        ("interval", "1 minute", "Jede Minute"),
        ("once", "2030-12-24 18:00", "Einmal, am Dienstag, 24. Dezember 2030 um 18:00"),
    ],
)
def test_a_schedule_is_described_in_german(kind: str, spec: str, text: str) -> None:
    with override("de"):
        assert read_kind(kind, spec, "Europe/Berlin", datetime.now(UTC)).describe() == text


@pytest.mark.django_db
def test_commands_speak_english(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    schedule(spec="30 2 * * *")
    with override("de"):
        call_command("taskq_schedules", "next", "nightly", "--count=50")
        call_command("taskq_beat", "--dry-run", "--hours=8784")
    assert "nightly" in capsys.readouterr().out


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_length_of_time_reads_from_the_left_in_every_language(language: str) -> None:
    with override(language):
        text = display.span(timedelta(days=2, hours=4))
    assert text.strip("\u2066\u2069").split() == ["2", "d", "4", "h"]
    assert text.startswith("\u2066") == (language == "ar")
