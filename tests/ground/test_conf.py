"""Settings: one declaration each, and every mistake found with its remedy."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

import taskq_django
from taskq_django.conf import (
    SECTIONS,
    BackendOptions,
    Worker,
    option_advice,
    option_problems,
    problems,
    queue_name_problem,
    read_options,
    taskq_settings,
)
from taskq_django.conf.broker_url import masked, parse_broker
from taskq_django.conf.declaration import Option, option, options, read_section
from taskq_django.exceptions import ConfigurationError

needs_redis = pytest.mark.skipif(find_spec("redis") is None, reason="the extra redis is not installed")
EVERY_SETTING = [each for section in [*SECTIONS.values(), BackendOptions] for each in options(section)]


def mistakes(taskq: Any) -> list[tuple[str, str]]:
    with override_settings(TASKQ=taskq):
        return [(problem.id, str(problem)) for problem in problems()]


def the_mistake(taskq: Any) -> tuple[str, str]:
    [mistake] = mistakes(taskq)
    return mistake


def the_broker_mistake(url: object) -> tuple[str, str]:
    [problem] = option_problems("fast", {"broker": url})
    return problem.id, str(problem)


# TASKQ


@override_settings(TASKQ={})
def test_without_settings_the_defaults_hold() -> None:
    found = taskq_settings()

    assert (found.worker.processes, found.worker.threads, found.worker.coroutines) == (1, 4, 100)
    assert found.worker.queues == ()
    assert found.worker.name is None
    assert found.task_defaults.max_attempts == 1
    assert "authorization" in found.admin.redact


def test_override_settings_takes_effect_and_ends() -> None:
    before = taskq_settings().worker.threads

    with override_settings(TASKQ={"WORKER": {"THREADS": 9}}):
        inside = taskq_settings().worker.threads

    assert inside == 9
    assert taskq_settings().worker.threads == before


@override_settings(TASKQ={"WORKER": {"GRACE": timedelta(minutes=2), "HEARTBEAT": 15, "QUEUES": ["mail"], "NAME": None}})
def test_values_come_as_their_field_has_them() -> None:
    worker = taskq_settings().worker

    assert worker.grace == 120.0
    assert isinstance(worker.heartbeat, float)
    assert worker.queues == ("mail",)
    assert worker.name is None


@override_settings(TASKQ={"WORKER": {}, "BEAT": {}, "RESULTS": {}, "ADMIN": {}, "TASK_DEFAULTS": {}})
def test_an_empty_section_is_right() -> None:
    assert problems() == []
    assert taskq_settings().worker == Worker()


@override_settings(TASKQ={"WORKER": {"THREDS": 1, "BATCH": 0}})
def test_wrong_settings_are_refused_when_read_with_every_mistake() -> None:
    with pytest.raises(ConfigurationError) as refused:
        taskq_settings()

    assert 'Did you mean "THREADS"?' in str(refused.value)
    assert 'TASKQ["WORKER"]["BATCH"] is 0; it must be an int from 1 to 1000.' in str(refused.value)


@pytest.mark.parametrize("taskq", [[], None, "WORKER", {"WORKER": []}, {"WORKER": None}])
def test_what_is_no_dict_is_a_mistake(taskq: object) -> None:
    check, text = the_mistake(taskq)

    assert check == "E001"
    assert "it must be a dict" in text


@pytest.mark.parametrize(
    ("taskq", "remedy"),
    [
        ({"WORKER": {"THREDS": 4}}, 'Did you mean "THREADS"?'),
        ({"WORKER": {"threads": 4}}, 'Did you mean "THREADS"?'),
        ({"WORKR": {}}, 'Did you mean "WORKER"?'),
        ({"worker": {}}, 'Did you mean "WORKER"?'),
        ({"THREADS": 4}, 'TASKQ["WORKER"]["THREADS"]'),
        ({"WORKER": {"COLOUR": 4}}, 'Its keys are "PROCESSES", "THREADS"'),
        ({"WORKER": {3: 4}}, 'Its keys are "PROCESSES", "THREADS"'),
        ({"BEAT": {"MAX_SLEEPS": 4}}, "MAX_SLEEP"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_one(taskq: object, remedy: str) -> None:
    check, text = the_mistake(taskq)

    assert check == "E002"
    assert remedy in text


@pytest.mark.parametrize(
    ("section", "key", "value", "text"),
    [
        ("WORKER", "THREADS", "4", 'is "4" (str); it must be an int from 1 to 1000.'),
        ("WORKER", "THREADS", True, "is True (bool); it must be an int"),
        ("WORKER", "THREADS", 4.0, "is 4.0 (float); it must be an int"),
        ("WORKER", "THREADS", None, "is None; it must be an int"),
        ("WORKER", "THREADS", 0, "is 0; it must be an int from 1"),
        pytest.param("WORKER", "THREADS", 10**5000, "it must be an int from 1 to 1000.", id="huge"),
        ("WORKER", "GRACE", float("nan"), "is nan; it must be a number from 0 to 86400, in seconds"),
        ("WORKER", "GRACE", float("inf"), "is inf; it must be a number"),
        ("WORKER", "GRACE", timedelta(seconds=-1), "is -1.0; it must be a number"),
        ("WORKER", "GRACE", False, "is False (bool); it must be a number"),
        ("WORKER", "NAME", "", "a str of 1 to 100 characters or None"),
        ("WORKER", "QUEUES", "mail", 'is "mail" (str); it must be a list'),
        ("WORKER", "QUEUES", ["mail", 3], "contains 3 (int)"),
        ("WORKER", "QUEUES", ["mail", "mail"], 'names "mail" twice'),
        ("WORKER", "EXCLUDE_QUEUES", ["a b"], '"a b" is no queue name'),
        ("ADMIN", "REDACT", [""], "non-empty"),
        ("TASK_DEFAULTS", "MAX_ATTEMPTS", 10**9, "is 1000000000; it must be an int from 1 to 1000."),
    ],
)
def test_a_wrong_value_is_named_with_what_it_must_be(section: str, key: str, value: object, text: str) -> None:
    check, mistake = the_mistake({section: {key: value}})

    assert check == "E003"
    assert mistake.startswith(f'TASKQ["{section}"]["{key}"] ')
    assert text in mistake


def test_all_mistakes_are_found_at_once() -> None:
    assert len(mistakes({"WORKER": {"THREDS": 4, "BATCH": 0}, "ADMIN": {"PAGE_SIZE": "x"}, "X": {}})) == 4


# Declarations


@pytest.mark.parametrize("setting", EVERY_SETTING, ids=lambda setting: setting.name)
def test_each_default_passes_its_own_check_and_has_a_text(setting: Option) -> None:
    assert setting.read(setting.default) == setting.default
    assert setting.doc.endswith(".")


def test_flags_are_declared_once() -> None:
    flags = [flag for setting in EVERY_SETTING for flag in (setting.flag, setting.short) if flag]

    assert len(flags) == len(set(flags))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("threads", "8", 8),
        ("grace", "2.5", 2.5),
        ("queues", "mail, default", ("mail", "default")),
        ("name", "w", "w"),
    ],
)
def test_a_flag_is_read_as_its_setting(name: str, text: str, value: object) -> None:
    assert worker_option(name).from_text(text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("queues", ""),
        ("queues", ",,"),
        ("queues", "a,a"),
        ("threads", "0"),
        ("threads", "x"),
        ("threads", "9" * 5000),
        ("grace", "nan"),
        ("grace", "-1"),
        ("grace", "1e309"),
        ("name", ""),
    ],
)
def test_a_wrong_flag_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"it must be|no queue name|twice"):
        worker_option(name).from_text(text)


def test_a_setting_may_be_a_choice() -> None:
    @dataclasses.dataclass(frozen=True)
    class Section:
        colour: str = option("red", choices=("red", "blue"), doc="A colour.")

    values, _ = read_section(Section, {"COLOUR": "blue"}, "X")
    _, [problem] = read_section(Section, {"COLOUR": "bleu"}, "X")

    assert values == {"colour": "blue"}
    assert str(problem) == 'X["COLOUR"] is "bleu"; it must be one of "red", "blue". A colour. Default: \'red\'.'


def worker_option(name: str) -> Option:
    return next(each for each in options(Worker) if each.name == name)


# OPTIONS and the broker URL


def test_a_backend_without_options_waits_in_the_database() -> None:
    found = read_options("default", {})

    assert found == BackendOptions(broker="database://", max_payload=1024 * 1024)
    assert parse_broker(found.broker).kind == "database"
    assert parse_broker(found.broker).database == ""


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"Broker": "database://"}, 'Did you mean "broker"?'),
        ({"max_paylod": 2048}, 'Did you mean "max_payload"?'),
        ({"bel": "redis://h"}, 'Did you mean "bell"?'),
        ({"bell": "database://"}, "which is no Redis"),
        ({"bell": "redis://"}, "has no host"),
        ({"outbox": 1}, "is 1 (int); it must be True or False."),
        ({"name": "a{b}"}, "1 to 64 of the characters"),
        ({"transport_options": []}, "is a list; it must be a dict whose keys are str."),
        ({"transport_options": {3: 4}}, "is a dict; it must be a dict whose keys are str."),
        ({"max_payload": 10}, "is 10; it must be an int from 1024 to 67108864 bytes."),
        ({"broker": None}, "is None; it must be a str"),
        ([], "is a list; it must be a dict."),
    ],
)
def test_wrong_options_are_refused(given: Any, text: str) -> None:
    [problem] = option_problems("fast", given)

    assert str(problem).startswith('TASKS["fast"]["OPTIONS"]')
    assert text in str(problem)
    with pytest.raises(ConfigurationError, match="fast"):
        read_options("fast", given)


def test_a_database_is_named_by_its_alias() -> None:
    assert parse_broker("database://default").database == "default"
    assert option_problems("fast", {"broker": "database://default"}) == []


def test_an_unknown_database_is_named_with_those_that_exist() -> None:
    check, text = the_broker_mistake("database://defualt")

    assert check == "E005"
    assert 'Did you mean "default"? The aliases are "default"' in text


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://", "has no host"),
        ("redis://:1", "has no host"),
        ("redis//x", "is no URL"),
        ("pickle://", 'has the unknown scheme "pickle"'),
        ("databse://", 'Did you mean "database"?'),
        ("redis://h:99999/0", "has the port 99999; it must be from 1 to 65535"),
        ("redis://h:0", "has the port 0;"),
        ("redis://h\n", "has no host"),
        ("database://default/x", "must be database:// and an alias"),
        ("database://a b", "must be database:// and an alias"),
    ],
)
def test_a_wrong_broker_url_is_refused(url: str, text: str) -> None:
    check, mistake = the_broker_mistake(url)

    assert check == "E004"
    assert text in mistake


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@h:6379/0",
        "redis://:hunter2@h:99999/0",
        "redis://u:hun@ter2/#hunter2@h:6379/0",
        "redis://u:hunter2/@h",
        "redis://:hunter2/0",
        "redis:hunter2@h",
        "hunter2@h",
        "redis//:hunter2@h",
        "pickle://:hunter2@h",
        "database://:hunter2@h",
        "redis://h/0?password=hunter2",
        "redis://h/0?hunter2",
        "redis+socket://:hunter2@/path",
        "redis+socket:hunter2",
        "sentinel://:hunter2@a;sentinel://:hunter2@b",
        "sentinel://:hun;ter2@a",
        "redis://:x;sentinel://:hunter2@a",
        "sqs://key:hunter2@",
        "cache://:hunter2@x",
        "amqp://u:hunter2@[::1]:5672//",
        "redis://:hunter2@h/" + "x" * 3000,
        "nope://hunter2",
        "nope://hunter2:6379/0",
        "memory://hunter2",
        "sqs://hunter2",
        "rediss//hunter2",
        "redis+socket://hunter2/path",
        "hunter2",
        "hunter2:6379",
        "hunter2;sentinel://a",
    ],
)
def test_a_password_never_reaches_a_message(url: str) -> None:
    text = " ".join(map(str, option_problems("fast", {"broker": url})))

    assert "hunter2" not in text
    assert "hunter2" not in masked(url)


def test_a_broker_url_is_not_in_the_repr_of_its_options() -> None:
    assert "hunter2" not in repr(BackendOptions(broker="redis://:hunter2@h"))
    assert "hunter2" not in repr(parse_broker("redis://:hunter2@h"))


def test_a_password_that_is_not_encoded_is_refused_with_the_remedy() -> None:
    _, text = the_broker_mistake("redis://:p@ss/w#rd@h:6379/0")

    assert "must be percent-encoded: @ as %40" in text


@pytest.mark.parametrize(
    ("scheme", "extra", "missing"),
    [("redis", "redis", "kombu, redis, packaging"), ("amqp", "rabbitmq", "kombu")],
)
def test_a_broker_whose_packages_are_missing_says_what_to_type(
    scheme: str, extra: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("kombu", "redis", "packaging"):
        monkeypatch.setitem(sys.modules, package, None)

    check, text = the_broker_mistake(f"{scheme}://localhost")

    assert check == "E006"
    assert f'{missing}. Type: pip install "taskq-django[{extra}]".' in text


@needs_redis
def test_rabbitmq_is_not_there_yet() -> None:
    check, text = the_broker_mistake("amqp://u:hunter2@h")

    assert check == "E006"
    assert "is not available yet" in text
    assert "hunter2" not in text


@needs_redis
@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "REDIS://h:6379/15",
        "redis://u:p%40ss@[::1]:6379/",
        "rediss://h/0?ssl_ca_certs=/x.pem&ssl_cert_reqs=required",
        "redis+socket:///run/redis.sock?virtual_host=2",
        "redis+socket://:secret@/run/redis.sock",
    ],
)
def test_a_right_url_of_redis_has_its_transport(url: str) -> None:
    assert option_problems("fast", {"broker": url}) == []
    assert parse_broker(url).transport == "taskq_django.brokers.kombu.redis.RedisTransport"
    assert parse_broker(url).database == ""


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://h/x", 'write it like "redis://host:port/0"'),
        ("redis://h/0#x", "cannot be read to its end"),
        ("redis+socket://", 'write it like "redis+socket:///path/of/it"'),
        ("redis+socket://host/path", "cannot be read to its end"),
        ("redis://a;redis://b", "has no host, or none that can be read"),
        ("redis://:a;b@h", "; as %3B"),
        ("sentinel://a:1;sentinel://:x@b:2", "in its first server only"),
        ("sentinel://a:1;sentinel://b:2/1", "in its first server only"),
        ("sentinel://a:1;sentinel://b:0", "has the port 0;"),
        ("cache://", "must be cache:// and an alias"),
        ("redis://h?ssl_cert_reqs=maybe", 'it must be one of "required", "optional", "none"'),
        ("redis://h?ssl_ca_cert=x", 'Did you mean "ssl_ca_certs"?'),
        ("redis://h?retry_on_timeout=1", "could send a command twice"),
        ("redis://h?socket_timeout=60", "is set by taskq_django itself"),
        ("memory://", "is refused: over kombu, memory keeps jobs in the memory of one process"),
        ("sqs://k:s@", "is refused: over kombu, sqs gives a job to a second worker"),
        ("filesystem://", "loses the jobs of a process that dies"),
        ("azureservicebus://h", "has not been shown to lose no job"),
    ],
)
def test_a_url_that_would_not_do_says_why(url: str, text: str) -> None:
    check, mistake = the_broker_mistake(url)

    assert check == "E004"
    assert text in mistake


@needs_redis
def test_sentinels_need_the_name_of_their_master() -> None:
    url = "sentinel://:secret@a:26379/0;sentinel://b:26379"
    [problem] = option_problems("fast", {"broker": "sentinel://a:26379;sentinel://b:26379"})

    assert 'OPTIONS"]["transport_options"]["master_name"] must have the name' in str(problem)
    assert option_problems("fast", {"broker": url, "transport_options": {"master_name": "m"}}) == []
    assert masked(url) == "sentinel://***@a:26379/…;sentinel://b:26379"


@needs_redis
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("retry", "could send a command twice"),
        ("retry_on_timeout", "could send a command twice"),
        ("retry_on_error", "could send a command twice"),
        ("retry_policy", "could send a command twice"),
        ("health_check_interval", "makes a lost answer unclear"),
        ("socket_timeout", "nobody waits for longer than 2 s"),
        ("socket_connect_timeout", "is set by taskq_django itself"),
        ("max_connections", "is set by taskq_django itself"),
    ],
)
def test_an_option_of_kombu_that_is_ours_is_refused_by_its_name(name: str, text: str) -> None:
    for given in ({name: 1}, {"sentinel_kwargs": {name: 1}}):
        [problem] = option_problems("fast", {"broker": "redis://h", "transport_options": given})

        assert problem.id == "E003"
        assert problem.where == f'TASKS["fast"]["OPTIONS"]["transport_options"]["{name}"]'
        assert text in problem.message


@needs_redis
def test_an_alias_that_can_be_no_key_needs_a_name() -> None:
    [problem] = option_problems("my {jobs}", {"broker": "redis://h"})

    assert '"name"] is that of its alias, which cannot be used: it must be 1 to 64' in str(problem)
    assert option_problems("my {jobs}", {"broker": "redis://h", "name": "jobs"}) == []
    assert option_problems("my {jobs}", {}) == []


CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "plain": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://h"},
    "full": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://h"},
    "broken": {"BACKEND": "nowhere.Cache"},
}


@needs_redis
@override_settings(CACHES=CACHES)
@pytest.mark.parametrize(
    ("alias", "text"),
    [
        ("plian", 'which is not in CACHES. Did you mean "plain"?'),
        ("default", "which is not kept in Redis"),
        ("broken", 'which is not kept in Redis: its BACKEND is "nowhere.Cache"'),
    ],
)
def test_a_cache_that_cannot_be_used_is_named(alias: str, text: str) -> None:
    check, mistake = the_broker_mistake(f"cache://{alias}")

    assert check == "E005"
    assert text in mistake
    assert option_problems("fast", {"broker": "cache://plain"}) == []


@needs_redis
@override_settings(CACHES=CACHES)
def test_a_cache_of_django_redis_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("django_redis", "django_redis.cache"):
        monkeypatch.setitem(sys.modules, package, None)

    check, text = the_broker_mistake("cache://full")

    assert check == "E006"
    assert "which needs django_redis. Type: pip install" in text
    assert option_problems("fast", {"broker": "cache://plain"}) == []


@needs_redis
@pytest.mark.parametrize(
    ("given", "idle"),
    [
        ({"outbox": True, "celery_compatible": True, "name": "x"}, ["name", "outbox", "celery_compatible"]),
        ({"broker": "redis://h", "bell": "redis://h", "outbox": True}, ["bell"]),
        ({"bell": "redis://h", "name": "x", "outbox": True}, ["outbox"]),
    ],
)
def test_an_option_that_changes_nothing_is_advice_and_no_mistake(given: Any, idle: list[str]) -> None:
    assert option_problems("fast", given) == []
    assert [problem.where for problem in option_advice("fast", given)] == [
        f'TASKS["fast"]["OPTIONS"]["{name}"]' for name in idle
    ]


@needs_redis
def test_certificates_that_are_not_checked_are_advised_against() -> None:
    for url in ("rediss://:hunter2@h?ssl_cert_reqs=none", "sentinel://h?ssl_cert_reqs=CERT_NONE"):
        given = {"broker": url, "transport_options": {"master_name": "m"}}
        [problem] = option_advice("fast", given)

        assert problem.id == "W012"
        assert "hunter2" not in str(problem)
    assert option_advice("fast", {"broker": "rediss://h"}) == []


def test_what_a_project_hands_to_kombu_is_shown_nowhere() -> None:
    given = {
        "broker": "redis://h",
        "transport_options": {"sentinel_kwargs": {"password": "hunter2"}},
        "bell": "redis://",
    }

    assert "hunter2" not in repr(BackendOptions(**{**given, "bell": "redis://:hunter2@h"}))
    assert "hunter2" not in str(option_problems("fast", given))


# Queue names


@pytest.mark.parametrize("name", ["default", "mail", "A", "0", "_x", "eu:mail.high-1", "a" * 64])
def test_a_right_queue_name_passes(name: str) -> None:
    assert queue_name_problem(name) is None


@pytest.mark.parametrize("name", ["", "A b", "a" * 300, "a'; --", "队列", "a\nb", "a\n", "-x", "*", None, 3, "a" * 65])
def test_a_wrong_queue_name_is_told_in_one_line(name: object) -> None:
    problem = queue_name_problem(name)

    assert problem is not None
    assert "\n" not in problem
    assert len(problem) < 200


def test_importing_conf_needs_no_settings() -> None:
    root = Path(taskq_django.__file__).parents[1]

    subprocess.run([sys.executable, "-c", "import taskq_django.conf"], check=True, env={"PYTHONPATH": str(root)})


@override_settings(TASKQ={"WORKER": {"HEARTBEAT": 60}})
def test_a_lease_that_one_late_heartbeat_would_end_is_refused() -> None:
    (problem,) = problems()

    assert problem.where == 'TASKQ["WORKER"]["LEASE"]'
    assert "less than twice HEARTBEAT" in problem.message
