"""What holds while a deploy is under way, and after one that was taken back: both releases do their work, together."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.mixed.deploy import OTHER, RELEASES, SECONDS, Deploy
from tests.support.workers import wait_for

each_way = pytest.mark.parametrize("web", RELEASES)


def wait_for_state(deploy: Deploy, release: str, id_: str, state: str) -> dict[str, object]:
    web = deploy.web(release)
    wait_for(lambda: web.story(id_)["state"] == state, what=lambda: f"{web.story(id_)}\n{deploy.output}")
    return dict(web.story(id_))


def test_a_migration_stops_nobody_and_loses_and_doubles_no_job(deploy: Deploy) -> None:
    now = deploy.web("now")
    assert now.get(deploy.held, SECONDS) == 1
    wait_for(lambda: deploy.runs().keys() >= set(deploy.sent), what=lambda: deploy.output)

    assert deploy.runs() == dict.fromkeys(deploy.sent, 1)
    for id_ in (deploy.sent[0], deploy.sent[-1]):
        now.get(id_, SECONDS)
    assert " ERROR " not in deploy.log
    assert now.command("migrate", "--check", "--verbosity", "0") == ""


@each_way
def test_each_runs_what_the_other_sends_and_both_read_what_came_of_it(deploy: Deploy, web: str) -> None:
    deploy.only(*RELEASES)
    sender, worker = deploy.web(web), OTHER[web]

    typed = sender.enqueue_typed(worker)
    delayed = sender.enqueue("echo", ["later"], worker, 0.3)
    several = sender.enqueue_many("echo", [[number] for number in range(100)], worker)
    lucky = sender.enqueue("second_time_lucky", [], worker)

    for release in RELEASES:
        reader = deploy.web(release)
        assert reader.is_typed(typed, SECONDS), deploy.output
        assert reader.get(delayed, SECONDS) == "later"
        assert [reader.get(id_, SECONDS) for id_ in several] == list(range(100))
        assert reader.get(lucky, SECONDS) == 2
        assert reader.story(lucky)["errors"] == ["builtins.ConnectionError"]
        assert set(reader.pages(lucky).values()) == {200}


@each_way
def test_each_retries_what_failed_at_the_other(deploy: Deploy, web: str) -> None:
    deploy.only(*RELEASES)
    worker, file = OTHER[web], Path(deploy.file("needed"))
    failing = deploy.web(worker).enqueue("needs", [str(file)], worker)
    assert wait_for_state(deploy, web, failing, "FAILED")["errors"] == ["builtins.FileNotFoundError"]
    file.write_text("there")

    deploy.web(web).retry(failing)

    for release in RELEASES:
        assert deploy.web(release).get(failing, SECONDS) == "there"
        assert deploy.web(release).story(failing)["attempts"] == 2


@each_way
def test_each_cancels_what_waits_and_what_runs_at_the_other(deploy: Deploy, web: str) -> None:
    deploy.only(*RELEASES)
    worker, file = OTHER[web], deploy.file("cancelled")
    other = deploy.web(worker)
    later, running = other.enqueue("echo", [1], worker, 3600.0), other.enqueue("hold", [file], worker)
    wait_for(lambda: Path(f"{file}.begun").exists(), what=lambda: deploy.output)

    assert deploy.web(web).cancel(later)
    assert deploy.web(web).cancel(running)

    for release in RELEASES:
        assert wait_for_state(deploy, release, later, "CANCELLED")["reason"] == "no more"
        wait_for_state(deploy, release, running, "CANCELLED")


@each_way
def test_each_pauses_the_queue_of_the_other(deploy: Deploy, web: str) -> None:
    deploy.only(*RELEASES)
    worker, here = OTHER[web], deploy.web(web)
    here.command("taskq_pause", worker)
    # It takes effect within a quarter of a second: what was sent then waits.
    looked = [deploy.web(worker).enqueue("echo", [number], worker, 2.0) for number in range(3)]
    for id_ in looked:
        wait_for_state(deploy, worker, id_, "READY")

    here.command("taskq_resume", worker)

    assert [here.get(id_, SECONDS) for id_ in looked] == [0, 1, 2]


@each_way
def test_each_runs_again_what_the_other_held_when_its_host_was_lost(deploy: Deploy, web: str) -> None:
    deploy.only(web)
    file, lost = deploy.file("lost"), deploy.worker(OTHER[web], "-Q", "lost").wait_until_ready()
    running = deploy.web(OTHER[web]).enqueue("hold", [file], "lost")
    wait_for(lambda: Path(f"{file}.begun").exists(), what=lambda: deploy.output)

    os.killpg(lost.process.pid, signal.SIGKILL)
    deploy.worker(web, "-Q", "lost")

    assert deploy.web(web).get(running, SECONDS) == 2
    assert deploy.web(web).story(running)["errors"] == ["taskq_django.exceptions.WorkerLost"]


@each_way
def test_each_fires_the_schedules_of_the_other(deploy: Deploy, web: str) -> None:
    deploy.only(*RELEASES)
    file = Path(deploy.file("scheduled"))
    deploy.web(web).schedule(f"of {web}", str(file), web)

    def has_run() -> bool:
        deploy.web(OTHER[web]).command("taskq_beat", "--once", "--verbosity", "0")
        return file.exists()

    wait_for(has_run, what=lambda: deploy.output)
    assert len(file.read_text().split()) == 1


@each_way
def test_each_sees_the_workers_of_both(deploy: Deploy, web: str) -> None:
    deploy.only(*RELEASES)
    status = json.loads(deploy.web(web).command("taskq_status", "--json"))
    # A host that another test has lost may be among them still.
    assert {worker["name"] for worker in status["workers"] if worker["alive"]} == set(RELEASES)
    assert deploy.web(web).command("taskq_health", "--min-workers", "2") == "healthy\n"


def test_the_release_before_can_be_started_again_on_the_new_tables(deploy: Deploy) -> None:
    deploy.only("now")
    sent = deploy.web("now").enqueue("echo", ["taken back"], "before")

    deploy.only("before")

    assert deploy.web("before").get(sent, SECONDS) == "taken back"
