"""What happens while a service starts: a database that comes and goes, that cannot be written to, and stop signals."""

from __future__ import annotations

import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from taskq_django.management import starting
from taskq_django.worker import banner
from tests.app import tasks
from tests.support.workers import RealWorker, cut_other_connections, wait_for
from tests.system.test_worker import lines

Start = Callable[..., RealWorker]
AWAY = {"TASKQ_TEST_DB": "postgresql", "TASKQ_TEST_POSTGRESQL": "postgresql://nobody@127.0.0.1:9/nothing"}

kinds = pytest.mark.parametrize("kind", ["worker", "worker without processes", "beat"])


@pytest.fixture
def start(start_worker: Start, start_beat: Start) -> Start:
    """``kind`` and more flags: a service of that kind."""

    def started(kind: str, *flags: str, **given: Any) -> RealWorker:
        if kind == "beat":
            return start_beat(*flags, **given)
        return start_worker(*flags, *(("-p", "0") if kind.endswith("processes") else ()), **given)

    return started


@kinds
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_a_database_is_waited_for_ends_a_service_without_a_word(
    start: Start, kind: str, number: int
) -> None:
    service = start(kind, env=AWAY)
    wait_for(lambda: "next try in" in service.output, what=lambda: service.output)
    service.send_to_group(number)
    assert service.wait() == 0, service.output
    assert "Traceback" not in service.output
    assert "Ready" not in service.output


@pytest.mark.django_db(databases=["default", "other"], transaction=True)
@pytest.mark.parametrize("command", ["taskq_worker", "taskq_beat"])
def test_a_start_begins_anew_when_its_database_goes_away_in_the_middle(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[None] = []

    def goes_away_once(*args: Any) -> None:
        asked.append(None)
        if len(asked) == 1:
            if connection.vendor != "sqlite":
                connection.ensure_connection()
                raw = connection.connection
                (getattr(raw, "_force_close", None) or raw.close)()  # PyMySQL refuses to be closed twice
            raise OperationalError("the server went away")

    monkeypatch.setattr(starting, "_run_checks", goes_away_once)
    monkeypatch.setattr("taskq_django.beat.service.Beat.run", lambda beat: beat._sleeper.close())
    monkeypatch.setattr("taskq_django.management.commands.taskq_beat.listen", lambda acts: None)
    if command == "taskq_worker":
        job = tasks.add.enqueue(1)
        call_command(command, processes=0, burst=True)
        assert job.get() == 3
    else:
        call_command(command)
    assert len(asked) == 2
    assert capsys.readouterr().out.count("Ready") == 1


@pytest.mark.django_db(databases=["default", "other"], transaction=True)
@pytest.mark.parametrize("command", ["taskq_worker", "taskq_beat"])
def test_a_start_that_its_database_never_answers_whole_is_given_up_in_one_line(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses(*args: Any) -> Any:
        raise OperationalError("not for you")

    monkeypatch.setattr(banner, "notices", refuses)
    monkeypatch.setattr("taskq_django.beat.declared.sync", refuses)
    with pytest.raises(SystemExit) as end:
        call_command(command, connect_timeout=0.2)
    assert end.value.code == 69
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == "not for you. Given up after 0.2 s."
    assert "Ready" not in said.out


@pytest.fixture
def read_only(settings_with: Callable[..., dict[str, str]]) -> Iterator[tuple[dict[str, str], Callable[[], None]]]:
    """The environment of services that cannot write, and what lets them."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        entry = {**settings.DATABASES["default"], "NAME": f"file:{name}?mode=ro", "OPTIONS": {"uri": True}, "TEST": {}}
        yield settings_with(DATABASES={"default": entry, "other": entry}), lambda: None
        return

    def alter(what: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {connection.ops.quote_name(name)} {what}")
        cut_other_connections()

    alter("SET default_transaction_read_only = on")
    yield {}, lambda: alter("RESET default_transaction_read_only")
    alter("RESET default_transaction_read_only")


@kinds
@pytest.mark.skipif(connection.vendor == "mysql", reason="there the whole server is so, and not for its administrator")
def test_a_database_that_can_only_be_read_is_waited_for_and_then_given_up(
    start: Start, kind: str, read_only: tuple[dict[str, str], Callable[[], None]]
) -> None:
    env, allow_writes = read_only
    service = start(kind, "--connect-timeout", "1", env=env)
    assert service.wait() == 69, service.output
    assert "Traceback" not in service.output
    assert "Ready" not in service.output
    assert "takes no writes" in service.output.splitlines()[-1]
    if connection.vendor != "sqlite":
        waits = start(kind)
        wait_for(lambda: "next try in" in waits.output, what=lambda: waits.output)
        allow_writes()
        waits.wait_until_ready()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no line")
@kinds
def test_a_service_whose_lines_are_cut_again_and_again_while_it_starts_gets_ready(start: Start, kind: str) -> None:
    for _ in range(10):  # one that is quick may be ready before it was seen to have a connection
        if started_while_lines_are_cut(start, kind):
            return
    raise AssertionError("no line was there to be cut")


def started_while_lines_are_cut(start: Start, kind: str) -> int:
    """How many were; it is stopped."""
    service, cuts = start(kind), 0

    def is_ready() -> bool:
        nonlocal cuts
        cuts += cut_other_connections() if cuts < 5 else 0
        return "Ready" in service.output or service.process.poll() is not None

    wait_for(is_ready, what=lambda: service.output, every=0)
    service.wait_until_ready()
    assert "Traceback" not in service.output
    service.stop()
    return cuts


@pytest.mark.parametrize("grace", ["0.3", "25"])
def test_the_reason_why_jobs_go_back_is_the_true_one(start_worker: Start, tmp_path: Path, grace: str) -> None:
    ledger = tmp_path / "ledger"
    tasks.slow_note.enqueue(str(ledger), "a", 60)
    worker = start_worker("--grace", grace).wait_until_ready()
    wait_for(lambda: lines(ledger), what=lambda: worker.output)
    worker.send_to_group(signal.SIGINT)
    if grace == "25":
        wait_for(lambda: "finishing 1 job" in worker.output, what=lambda: worker.output)
        worker.send_to_group(signal.SIGINT)
    assert worker.wait() == 3
    assert ("Told to stop at once: 1 job given back" in worker.output) is (grace == "25")
    assert ("The grace is over: 1 job given back" in worker.output) is (grace != "25")


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
@pytest.mark.parametrize("command", ["taskq_worker", "taskq_beat"])
def test_threads_that_are_not_pythons_are_refused(library: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def theirs(*args: Any) -> None: ...

    theirs.__module__ = f"{library}.green.select"
    monkeypatch.setattr(select, "select", theirs)
    with pytest.raises(CommandError, match=f"{library} has replaced theirs of Python.*Do not patch"):
        call_command(command)
