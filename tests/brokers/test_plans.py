"""What each statement reads with a million rows in the tables: an index, and no more rows than it must.

The statements are those that the broker and the admin send; each is explained by the server that these tests use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client, override_settings
from django.urls import reverse

from taskq_django import status
from taskq_django.admin.filters import NEWEST
from taskq_django.brokers.base import Broker
from taskq_django.brokers.database.broker import DatabaseBroker
from taskq_django.brokers.database.outbox import Outbox
from taskq_django.compat import task_backends
from taskq_django.conf import taskq_settings
from taskq_django.jobs import Claim, Outcome, Succeeded
from taskq_django.models import JobAttempt, JobResult, PausedQueue, QueuedJob, WorkerProcess
from taskq_django.models.moments import DatabaseNow
from taskq_django.store import pruning
from taskq_django.store.dialects.base import PROMOTED_AT_ONCE
from taskq_django.store.ends import written
from tests.support.messages import HOLDER, message, register, retry, success

JOB, RESULT, ATTEMPT, PAUSED = (model._meta.db_table for model in (QueuedJob, JobResult, JobAttempt, PausedQueue))
OURS = re.compile(rf"\b({JOB}|{RESULT}|{ATTEMPT})\b")
HALF = 500_000
FAILED_ONES = 50  # the oldest
BATCH = 100

# n counts from 1; an id begins with its time, as UUIDs of version 7 do.
NUMBERS = {
    "postgresql": f"SELECT generate_series(1, {HALF}) AS n",
    "mysql": f"SELECT seq AS n FROM seq_1_to_{HALF}",
    "sqlite": f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {HALF}) SELECT n FROM c",
}
IDS = {
    "postgresql": "('019{0}0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid",
    "mysql": "CONCAT('019{0}0000-0000-7000-8000-', LPAD(HEX(n), 12, '0'))",
    "sqlite": "'019{0}0000000070008000' || printf('%012x', n)",
}
# Of the live ones: 300,000 far in the future, 3,000 due, 1,000 running, the rest ready, most of them in a paused queue.
FILL = """
INSERT INTO {job} (id, task_path, backend, queue_name, status, {rank}, available_at, enqueued_at, payload, headers,
                   tries, attempts, crashes, worker_id)
SELECT {live}, 'tests.app.tasks.add', 'default',
       CASE WHEN n > 496000 THEN CASE n % 3 WHEN 0 THEN 'mail' WHEN 1 THEN 'default' ELSE 'video' END ELSE 'paused' END,
       CASE WHEN n <= 303000 THEN 'SCHEDULED' WHEN n <= 304000 THEN 'RUNNING' ELSE 'READY' END, 0,
       CASE WHEN n <= 300000 THEN {stamp} '2099-01-01 00:00:00' ELSE {stamp} '2026-01-01 00:00:00' END,
       {stamp} '2026-01-01 00:00:00',
       '[[1],{{}}]', '', 0, 0, 0, CASE WHEN n > 303000 AND n <= 304000 THEN 'w1' ELSE NULL END
FROM ({numbers}) AS numbers"""
FILL_RESULTS = """
INSERT INTO {result} (id, task_path, backend, queue_name, status, priority, enqueued_at, finished_at, payload, headers,
                      tries, attempts, crashes, exception_class, message)
SELECT {ended}, CASE WHEN n <= {failed} THEN 'tests.app.tasks.explode' ELSE 'tests.app.tasks.add' END, 'default',
       CASE WHEN n % 2 = 0 THEN 'mail' ELSE 'default' END,
       CASE WHEN n <= {failed} THEN 'FAILED' ELSE 'SUCCESSFUL' END, 0, {stamp} '2026-01-01 00:00:00',
       {stamp} '2026-01-01 00:00:01',
       '[[1],{{}}]', '', 0, 1, 0, '', ''
FROM ({numbers}) AS numbers"""

# Of each result one: so many that a scan of them all costs more than a batch that is looked up.
FILL_ATTEMPTS = """
INSERT INTO {attempt} (job_id, number, worker_id, started_at, finished_at, exception_class, message, traceback)
SELECT {ended}, 1, 'w1', {stamp} '2026-01-01 00:00:00', {stamp} '2026-01-01 00:00:01', 'builtins.ValueError', '', ''
FROM ({numbers}) AS numbers"""


@pytest.fixture(scope="module")
def million(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        vendor = connection.vendor
        values = {
            "job": JOB,
            "result": RESULT,
            "attempt": ATTEMPT,
            "numbers": NUMBERS[vendor],
            "live": IDS[vendor].format("1"),
            "ended": IDS[vendor].format("0"),
            "rank": connection.ops.quote_name("rank"),
            "failed": FAILED_ONES,
            "stamp": "TIMESTAMP" if vendor == "postgresql" else "",
        }
        analyze = {"sqlite": "ANALYZE", "mysql": f"ANALYZE TABLE {JOB}, {RESULT}, {ATTEMPT}"}.get(
            vendor, "VACUUM ANALYZE"
        )
        with connection.cursor() as cursor:
            with transaction.atomic():
                cursor.execute(FILL.format(**values))
                cursor.execute(FILL_RESULTS.format(**values))
                cursor.execute(FILL_ATTEMPTS.format(**values))
            cursor.execute(analyze)
        PausedQueue.objects.create(backend="default", queue_name="paused")
        yield
        with connection.cursor() as cursor:
            for table in (JOB, RESULT, ATTEMPT, PAUSED):
                cursor.execute(f"DELETE FROM {table}" if vendor == "sqlite" else f"TRUNCATE TABLE {table}")
            if vendor == "sqlite":
                cursor.execute("DROP TABLE sqlite_stat1")
                cursor.execute("ANALYZE sqlite_schema")


pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("million"),
    pytest.mark.timeout(600),
]  # to fill it takes long


# --- what was read ----------------------------------------------------------------------------------------------------


@dataclass
class Read:
    """``indexes`` of our two tables that were used; a scan of a whole table is in there by the table's name."""

    indexes: set[str] = field(default_factory=set)
    rows: int = 0  # (SQLite: steps of its virtual machine, some fifteen a row)
    plans: list[str] = field(default_factory=list)  # for who reads a failure


def read_by(act: Callable[[], object], *, prepared: bool = False) -> Read:
    """Do it, take it back, and say what its statements about our tables have read.

    ``prepared``: by plans that PostgreSQL makes without knowing the parameters.
    """
    sent: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if OURS.search(sql):
            sent.extend((sql, row) for row in params) if many else sent.append((sql, params))
        return execute(sql, params, many, context)

    read = Read()
    with transaction.atomic():
        steps = _counting_steps() if connection.vendor == "sqlite" else None
        before = _rows_read()
        with connection.execute_wrapper(note):
            act()
        read.rows = _rows_read() - before
        if steps is not None:
            connection.connection.set_progress_handler(None, 0)
            read.rows = steps[0] * 100
        transaction.set_rollback(True)
    assert sent, "it has asked nothing"
    explain = _explain_prepared if prepared else _EXPLAIN[connection.vendor]
    for sql, params in sent:
        explain(read, sql, params)
    return read


def _rows_read() -> int:
    if connection.vendor != "mysql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%%'", [])
        return sum(int(value) for _, value in cursor.fetchall())


def _counting_steps() -> list[int]:
    steps = [0]

    def step() -> int:
        steps[0] += 1
        return 0

    connection.ensure_connection()
    connection.connection.set_progress_handler(step, 100)
    return steps


def _explain_prepared(read: Read, sql: str, params: Any) -> None:
    first, *parts = sql.split("%s")
    text = first + "".join(f"${number}{part}" for number, part in enumerate(parts, 1))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute(f"PREPARE explained AS {text}")
        _explain_postgresql(read, f"EXECUTE explained({', '.join(['%s'] * len(parts))})", params)
        cursor.execute("DEALLOCATE explained")


def _explain_postgresql(read: Read, sql: str, params: Any) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
        found = cursor.fetchone()[0]
        plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
        transaction.set_rollback(True)
    read.plans.append(json.dumps(plan, indent=1))
    nodes = [plan]
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        if node["Node Type"] in {"Index Scan", "Index Only Scan", "Bitmap Index Scan", "Seq Scan"}:
            seen = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            read.rows += round(seen * node["Actual Loops"])
            index = node.get("Index Name", node.get("Relation Name"))
            # A scan that a LIMIT has cut short is no scan of the whole table; and one table has one row.
            whole = node["Node Type"] != "Seq Scan" or seen > 2 * taskq_settings().admin.count_limit
            if whole and index.startswith("taskq") and node.get("Relation Name") != PAUSED:
                read.indexes.add(f"{index.removesuffix('_pkey')} PK" if index.endswith("_pkey") else index)


def _explain_mysql(read: Read, sql: str, params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}", params)
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    read.plans += map(str, rows)
    for row in rows:
        table, key = row["table"], row["key"]
        if row["select_type"] == "INSERT" or table is None or table.startswith(("<", "o")):
            continue
        read.indexes.add({"PRIMARY": f"{_table(table)} PK", None: _table(table)}.get(key, key))
        assert "filesort" not in (row["Extra"] or "") or int(row["rows"]) <= 2 * PROMOTED_AT_ONCE, row


def _table(alias: str) -> str:
    return {"job": JOB}.get(alias, alias)


def _explain_sqlite(read: Read, sql: str, params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        details = [row[3] for row in cursor.fetchall()]
    read.plans += details
    for detail in details:
        if found := re.match(r"(?:SCAN|SEARCH) (\w+)(?: .*?USING (?:COVERING )?INDEX (\w+))?", detail):
            table, index = found.groups()
            if table not in (JOB, RESULT, ATTEMPT):
                continue
            if index and index.startswith("sqlite_autoindex"):
                index = f"{table} PK" if table != ATTEMPT else "taskq_attempt_number"
            read.indexes.add(index or table)
        assert "TEMP B-TREE FOR ORDER BY" not in detail or OURS.search(sql) is None or "IN (SELECT" in sql, details


_EXPLAIN = {"postgresql": _explain_postgresql, "mysql": _explain_mysql, "sqlite": _explain_sqlite}
CLAIM, DUE, JOB_KEY, RESULT_KEY = "taskq_queued_claim", "taskq_queued_due", f"{JOB} PK", f"{RESULT} PK"
RUNNING = {CLAIM, DUE} if connection.vendor == "mysql" else {"taskq_queued_running"}


def bound(rows: int) -> int:
    """So much may be read for ``rows``: each found in an index and fetched by its key, and as much again."""
    return (4 * rows + 200) * (24 if connection.vendor == "sqlite" else 1)


# --- the broker -------------------------------------------------------------------------------------------------------


@pytest.fixture
def broker() -> Broker:
    return task_backends["default"].broker  # type: ignore[attr-defined,no-any-return]


def settle(broker: Broker) -> None:
    claims = broker.claim(["mail"], BATCH, "w2")
    assert len(claims) == BATCH
    assert len(broker.settle([Succeeded(claim, 0.0, 0.0, "3") for claim in claims], "w2")) == BATCH


@pytest.mark.parametrize("prepared", [False, True], ids=["", "prepared"])
@pytest.mark.parametrize(
    ("act", "rows", "indexes"),
    [
        (lambda broker: broker.claim(["mail"], BATCH, "w2"), BATCH, {CLAIM, JOB_KEY}),
        (lambda broker: broker.claim(["none", "mail", "video"], BATCH, "w2"), BATCH, {CLAIM, JOB_KEY}),
        (lambda broker: broker.claim(["nothing here"], BATCH, "w2"), 0, {CLAIM, JOB_KEY}),
        (lambda broker: broker.ready_queues(), 10, {CLAIM}),
        (lambda broker: broker.promote(), PROMOTED_AT_ONCE, {DUE, JOB_KEY}),
        (settle, 3 * BATCH, {CLAIM, JOB_KEY, RESULT_KEY}),
        (lambda broker: broker.release_unanswered("w1", []), 1000, {*RUNNING, JOB_KEY}),
        (lambda broker: broker.cancelled("w1"), 1000, RUNNING),
        (lambda broker: broker.orphans("w2", "w1"), 1000, {*RUNNING, JOB_KEY}),
    ],
    ids=["claim", "of queues", "empty claim", "ready queues", "promote", "settle", "release", "cancelled", "orphans"],
)
def test_a_statement_of_the_worker_reads_what_it_takes_by_its_index(
    act: Callable[[Broker], object], rows: int, indexes: set[str], broker: Broker, prepared: bool
) -> None:
    if prepared and connection.vendor != "postgresql":
        pytest.skip("nothing is prepared there")
    read = read_by(lambda: act(broker), prepared=prepared)
    assert read.indexes <= indexes, "\n".join(read.plans)
    assert read.rows <= bound(rows), "\n".join(read.plans)


def counted_whole() -> set[str]:
    """Most jobs of this table are scheduled, and PostgreSQL counts what is most of a table without an index."""
    return {JOB} if connection.vendor == "postgresql" else set()


def test_what_is_ready_is_counted_in_the_order_of_its_index(broker: Broker) -> None:
    """A sort of a million rows would be most of what ``taskq_status`` takes."""
    read = read_by(broker.depth)
    assert not read.indexes & {JOB} - counted_whole(), "\n".join(read.plans)
    sorted_by = [plan for plan in read.plans if "TEMP B-TREE" in plan]
    # What is scheduled and what runs is in the order of other indexes.
    assert len(sorted_by) <= 2, read.plans


# --- messages ---------------------------------------------------------------------------------------------------------

ATTEMPTS_OF = "taskq_attempt_number"
SENDER = str(UUID(int=1))
TOKEN = UUID(int=2).hex


@dataclass
class Messages:
    """Claims of ids of which half have a live row, and what is asked of the store about them."""

    broker: DatabaseBroker
    claims: list[Claim]

    @property
    def ids(self) -> list[str]:
        return [claim.job.id for claim in self.claims]

    @property
    def as_rows(self) -> list[Claim]:
        return [claim._replace(receipt=TOKEN) for claim in self.claims]

    def record(self, outcome: Callable[[Claim], Outcome]) -> None:
        assert self.broker.record([outcome(claim) for claim in self.claims], HOLDER, "w2", sweep=True)


@pytest.fixture
def messages(broker: Broker) -> Messages:
    assert isinstance(broker, DatabaseBroker)
    register(HOLDER)
    ids = [f"019{half}0000-0000-7000-8000-{n:012x}" for half in "12" for n in range(1, BATCH // 2 + 1)]
    QueuedJob.objects.filter(id__in=ids[: BATCH // 4]).update(sender=SENDER)
    return Messages(broker, [message(id=id_) for id_ in ids])


@pytest.mark.parametrize(
    ("act", "indexes"),
    [
        (lambda messages: messages.record(success), {JOB_KEY, RESULT_KEY}),
        (lambda messages: messages.record(retry), {JOB_KEY, RESULT_KEY, ATTEMPTS_OF}),
        (lambda messages: written(messages.claims, "default"), {JOB_KEY, RESULT_KEY, ATTEMPTS_OF}),
        (lambda messages: Outbox(messages.broker).renew(messages.ids, SENDER), {JOB_KEY}),
        (lambda messages: Outbox(messages.broker).confirmed(messages.ids, SENDER), {JOB_KEY}),
        (lambda messages: Outbox(messages.broker).surely_not_sent(messages.ids, SENDER), {JOB_KEY}),
        (lambda messages: Outbox(messages.broker).doubtful(messages.as_rows), {JOB_KEY}),
    ],
    ids=["successes", "retries", "look", "renewal", "confirm", "not sent", "in doubt"],
)
def test_a_statement_about_messages_finds_rows_by_their_ids(
    act: Callable[[Messages], object], indexes: set[str], messages: Messages
) -> None:
    read = read_by(lambda: act(messages))
    assert read.indexes <= indexes, "\n".join(read.plans)
    assert read.rows <= bound(2 * BATCH), "\n".join(read.plans)


# --- old results ------------------------------------------------------------------------------------------------------


NEVER = {"KEEP_SUCCESSES": None, "KEEP_FAILURES": None}
LONG = 1e9  # seconds


@pytest.mark.parametrize(
    ("kept", "rows", "removed"),
    [
        ({}, pruning.AT_ONCE, pruning.AT_ONCE),
        ({"KEEP_SUCCESSES": None}, FAILED_ONES, FAILED_ONES),
        (NEVER, 0, 0),
        ({"KEEP_SUCCESSES": LONG, "KEEP_FAILURES": LONG}, 0, 0),
    ],
    ids=["successes", "few failures among many successes", "kept for ever", "none is old"],
)
def test_a_batch_of_old_results_is_found_by_an_index(kept: dict[str, Any], rows: int, removed: int) -> None:
    counts = []
    with override_settings(TASKQ={"RESULTS": kept}):
        read = read_by(lambda: counts.append(pruning.prune_batch("default")))
    assert counts == [removed]
    assert not read.indexes & {JOB, RESULT, ATTEMPT}, "\n".join(read.plans)
    assert read.rows <= bound(2 * rows), "\n".join(read.plans)


def test_a_look_for_attempts_without_a_story_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    JobResult.objects.filter(status="FAILED").delete()  # their attempts, the first ones, are left
    monkeypatch.setattr(pruning, "_looked_to", {})
    counts = []

    for _ in range(2):  # the second look begins behind the first
        with override_settings(TASKQ={"RESULTS": {"KEEP_SUCCESSES": None}}):
            read = read_by(lambda: counts.append(pruning.prune_batch("default")))
        assert not read.indexes & {JOB, RESULT, ATTEMPT}, "\n".join(read.plans)
        assert read.rows <= bound(3 * pruning.AT_ONCE), "\n".join(read.plans)

    assert counts == [FAILED_ONES, 0]


def test_status_counts_a_bounded_number_of_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "COUNTED", 1000)
    monkeypatch.setattr(status, "DAY", LONG)
    shown = status.Status()

    read = read_by(lambda: status._add_ended(shown, "default", ["default"]))

    assert (shown.day, shown.more) == ({"SUCCESSFUL": 1000, "FAILED": FAILED_ONES}, True)
    assert not read.indexes & {JOB, RESULT}, "\n".join(read.plans)
    assert read.rows <= bound(1000 + FAILED_ONES), "\n".join(read.plans)


# --- the admin --------------------------------------------------------------------------------------------------------


@pytest.fixture
def visitor(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("visitor"))
    return client


ADD, EXPLODE = "tests.app.tasks.add", "tests.app.tasks.explode"
LISTS = {
    "results": ("jobresult", {}, 0, {RESULT_KEY}),
    "oldest results first": ("jobresult", {"o": "5"}, 0, {RESULT_KEY}),
    "results, far behind": ("jobresult", {"p": "90"}, 10_000, {RESULT_KEY}),
    "failures, all of them old": ("jobresult", {"status": "FAILED"}, 0, {"taskq_result_status"}),
    "successes": ("jobresult", {"status": "SUCCESSFUL"}, 0, {"taskq_result_status", RESULT_KEY}),
    "results of a rare task": ("jobresult", {"task": "tests.app.tasks.explode"}, 0, {"taskq_result_task"}),
    "results of a state that none has": ("jobresult", {"status": "EXPIRED"}, 0, {"taskq_result_status"}),
    "results of a queue": ("jobresult", {"queue": "mail"}, NEWEST, {RESULT_KEY}),
    "results of no queue": ("jobresult", {"queue": "gone"}, NEWEST, {RESULT_KEY}),
    "results by path": ("jobresult", {"q": "tests.app.nothing"}, 3 * NEWEST, {RESULT_KEY}),
    "a result by its id": ("jobresult", {"q": "01900000-0000-7000-8000-000000000001"}, 0, {RESULT_KEY}),
    "queued": ("queuedjob", {}, 0, {JOB_KEY}),
    "oldest queued first": ("queuedjob", {"o": "5"}, 0, {JOB_KEY}),
    "results of no state and task": ("jobresult", {"status": "EXPIRED", "task": ADD}, 0, {"taskq_result_status"}),
    "failures of another task": ("jobresult", {"status": "FAILED", "task": ADD}, 0, {"taskq_result_status"}),
    "successes of a task that only fails": (
        "jobresult",
        {"status": "SUCCESSFUL", "task": EXPLODE},
        NEWEST,
        {RESULT_KEY, "taskq_result_status"},
    ),
    "results by the beginning of an id": ("jobresult", {"q": "01900000-0000"}, 0, {RESULT_KEY}),
    "results by the path of a task": ("jobresult", {"q": "tests.app.tasks.explode"}, 0, {"taskq_result_task"}),
    "results by an argument": ("jobresult", {"q": "no_such_argument"}, 3 * NEWEST, {RESULT_KEY}),
    "results by an error": ("jobresult", {"q": "error:KeyError"}, 0, {"taskq_result_status"}),
    "queued, running": ("queuedjob", {"status": "RUNNING"}, 1000, RUNNING),
    "queued, scheduled": ("queuedjob", {"status": "SCHEDULED"}, NEWEST, {DUE}),
    "queued, ready": ("queuedjob", {"status": "READY"}, NEWEST, {CLAIM, DUE}),
    "queued by an argument": ("queuedjob", {"q": "no_such_argument"}, 3 * NEWEST, {JOB_KEY}),
    "queued, of a queue": ("queuedjob", {"queue": "mail"}, NEWEST, {JOB_KEY}),
    "queued, of a task": ("queuedjob", {"task": "tests.app.tasks.explode"}, NEWEST, {JOB_KEY}),
    "queued by path": ("queuedjob", {"q": "tests.app.nothing"}, 3 * NEWEST, {JOB_KEY}),
}


@pytest.mark.parametrize(("model", "query", "rows", "indexes"), LISTS.values(), ids=LISTS)
def test_a_list_of_the_admin_stays_on_its_index(
    model: str, query: dict[str, str], rows: int, indexes: set[str], visitor: Client
) -> None:
    address = reverse(f"admin:taskq_django_{model}_changelist")
    answers = []
    read = read_by(lambda: answers.append(visitor.get(address, query)))
    assert answers[0].status_code == 200
    # Counted up to the limit, in each tab too, and a page shown.
    counted = 6 * taskq_settings().admin.count_limit + taskq_settings().admin.page_size
    assert read.indexes & indexes, "\n".join(read.plans)  # the count may have taken another
    assert not read.indexes & {JOB, RESULT}, "\n".join(read.plans)
    assert read.rows <= bound(counted + rows), "\n".join(read.plans)


@pytest.mark.parametrize("column", ["0", "1", "2", "3", "4", "6", "7", "8"])
def test_no_other_column_can_be_sorted_by(column: str, visitor: Client) -> None:
    read = read_by(lambda: visitor.get(reverse("admin:taskq_django_jobresult_changelist"), {"o": column}))
    assert read.rows <= bound(6 * taskq_settings().admin.count_limit + 200), "\n".join(read.plans)


def test_the_page_of_a_job_reads_one_row(visitor: Client) -> None:
    page = reverse("admin:taskq_django_job", args=[UUID("01900000-0000-7000-8000-000000000001")])
    read = read_by(lambda: visitor.get(page))
    assert read.indexes <= {JOB_KEY, RESULT_KEY, "taskq_attempt_number"}, "\n".join(read.plans)
    assert read.rows <= bound(10)


@pytest.mark.parametrize("model", ["dashboard", "queue", "workerprocess", "registeredtask"])
def test_a_page_that_tells_how_it_stands_stays_on_indexes(model: str, visitor: Client) -> None:
    WorkerProcess.objects.create(id="w", name="w", host="h", pid=1, started_at=DatabaseNow(), seen_at=DatabaseNow())
    WorkerProcess.objects.create(
        id="w/1", supervisor_id="w", name="w", host="h", pid=1, started_at=DatabaseNow(), seen_at=DatabaseNow()
    )
    address, answers = reverse(f"admin:taskq_django_{model}_changelist"), []

    def look() -> None:
        answers.append(visitor.get(address))
        QueuedJob.objects.filter(id=UUID(int=1)).exists()  # the page of tasks asks for no job

    read = read_by(look)
    assert answers[0].status_code == 200
    counted = counted_whole() if model in {"dashboard", "queue"} else set()
    assert not read.indexes & {JOB, RESULT, ATTEMPT} - counted, "\n".join(read.plans)
