"""The files of the guide to deployment: they are valid, and what they start runs, tells its health, and stops."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from taskq_django.conf import taskq_settings
from tests.app import tasks
from tests.support.gates import Gate
from tests.support.systemd import NotifySocket
from tests.support.workers import ROOT, RealBeat, RealWorker, wait_for

pytestmark = pytest.mark.processes

FILES = ROOT / "docs/guides/deploy"
PYTHON = "/srv/site/venv/bin/python"
UNITS = ["taskq-worker.service", "taskq-beat.service"]
SERVICES = {"taskq_worker": RealWorker, "taskq_beat": RealBeat}


def section(unit: str) -> dict[str, str]:
    """The part of a unit that says how its service is started and stopped."""
    parser = ConfigParser(interpolation=None, delimiters=["="], comment_prefixes=["#"])
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((FILES / unit).read_text())
    return dict(parser["Service"])


@pytest.fixture
def start() -> Iterator[Callable[..., RealWorker]]:
    """Starts a service by the command of a file."""
    started: list[RealWorker] = []

    def by(command: str, **env: str) -> RealWorker:
        _, manage, name, *flags = shlex.split(command)
        assert manage == "manage.py"
        started.append(SERVICES[name](*flags, env=env))
        return started[-1]

    yield by
    for service in started:
        service.stop()


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_no_fault_with_a_unit(unit: str, tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    text = (FILES / unit).read_text()
    assert PYTHON in text
    (tmp_path / unit).write_text(text.replace(PYTHON, sys.executable))  # it must be there
    command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if unit in line]
    assert (ours, done.returncode) == ([], 0)


def test_a_unit_gives_a_worker_the_time_that_it_takes() -> None:
    unit, settings = section("taskq-worker.service"), taskq_settings().worker
    assert int(unit["TimeoutStopSec"]) > settings.grace
    assert int(unit["TimeoutStartSec"]) > 2 * settings.connect_timeout
    assert int(unit["WatchdogSec"]) > 2 * settings.lease


@pytest.mark.parametrize("unit", UNITS)
def test_what_a_unit_starts_tells_systemd_that_it_works_lives_and_stops(
    unit: str, start: Callable[..., RealWorker], transactional_db: None, tmp_path: Path
) -> None:
    heard, told = NotifySocket(tmp_path / "notify"), section(unit)
    try:
        assert told["Type"] == "notify"
        service = start(told["ExecStart"], NOTIFY_SOCKET=heard.path, WATCHDOG_USEC=f"{told['WatchdogSec']}000000")
        wait_for(lambda: heard.told.count("WATCHDOG=1") >= 2, what=lambda: service.output)
        assert heard.told[0] == "READY=1"
        assert "STOPPING=1" not in heard.told

        service.send(signal.SIGTERM)
        assert service.wait() == 0
        assert heard.told.count("READY=1") == heard.told.count("STOPPING=1") == 1
    finally:
        heard.close()


@pytest.mark.parametrize("processes", ["0", "1"])
def test_a_worker_tells_that_it_stops_before_its_jobs_have_ended(
    processes: str, start: Callable[..., RealWorker], transactional_db: None, tmp_path: Path
) -> None:
    heard, gate = NotifySocket(tmp_path / "notify"), Gate(tmp_path / "gate")
    try:
        service = start(f"python manage.py taskq_worker -p {processes}", NOTIFY_SOCKET=heard.path)
        result = tasks.wait_at.enqueue(str(gate))
        wait_for(gate.is_reached, what=lambda: service.output)
        service.send(signal.SIGTERM)
        wait_for(lambda: "STOPPING=1" in heard.told, what=lambda: service.output)
        gate.open()
        assert service.wait() == 0
        result.refresh()
        assert result.is_finished
    finally:
        heard.close()


# --- the compose file ---------------------------------------------------------------------------------------------

ENV = {"SECRET_KEY": "of the tests", "POSTGRES_PASSWORD": "of the tests"}


def composed() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    read: dict[str, Any] = yaml.safe_load((FILES / "compose.yaml").read_text())
    return read


def test_docker_compose_finds_no_fault_with_the_file() -> None:
    docker = ["docker", "compose"]
    if not shutil.which("docker") or subprocess.run([*docker, "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    command = [*docker, "--file", str(FILES / "compose.yaml"), "config", "--quiet"]
    done = subprocess.run(command, env={**os.environ, **ENV}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_service_waits_for_what_it_needs_and_has_the_time_that_it_takes() -> None:
    services = composed()["services"]
    for name in ("web", "worker", "beat"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert services[name]["restart"] == "unless-stopped"
    assert services["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert services["migrate"]["restart"] == "on-failure"
    assert int(services["worker"]["stop_grace_period"].removesuffix("s")) > taskq_settings().worker.grace


def test_the_settings_of_the_guide_read_what_the_file_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    given = composed()["x-site"]["environment"]
    text = (FILES / "settings.py").read_text()
    for name, value in given.items():
        assert name in text or name == "DJANGO_SETTINGS_MODULE"
        monkeypatch.setenv(name, ENV.get(name, value))
    read: dict[str, Any] = {}
    exec(text, read)
    assert read["DATABASES"]["default"]["HOST"] in composed()["services"]
    assert read["TASKS"]["default"]["OPTIONS"]["broker"] == given["REDIS_URL"]


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_what_the_file_starts_is_healthy_until_it_is_stopped(
    name: str, start: Callable[..., RealWorker], transactional_db: None, tmp_path: Path
) -> None:
    service = composed()["services"][name]
    file = f"/tmp/{name}"
    command, test = (
        text.replace(file, str(tmp_path / name)) for text in (service["command"], service["healthcheck"]["test"])
    )
    assert file in service["command"]

    def is_healthy() -> bool:
        probe = subprocess.run([sys.executable, *shlex.split(test)[1:]], cwd=ROOT, capture_output=True, check=False)
        return probe.returncode == 0

    assert not is_healthy()
    started = start(command)
    wait_for(is_healthy, what=lambda: started.output)
    started.wait_until_ready()
    started.send(signal.SIGTERM)
    assert started.wait() == 0
    assert not is_healthy()
