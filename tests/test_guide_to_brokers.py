"""A project whose URL is changed, as the guide says it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_docs import DOCS, Site, blocks

redis = pytest.importorskip("redis", reason="redis is not installed (extra redis)")

from tests.support.redis_servers import started_or_skipped  # noqa: E402


@pytest.fixture
def redis_url() -> Iterator[str]:
    server = started_or_skipped()
    yield server.url
    server.remove()


ADD = "from shop.tasks import add; print(add.enqueue_many([(i,) for i in range(5)])[-1].state)"


@pytest.mark.once
@pytest.mark.timeout(300)  # two dozen processes, each of which loads a project
def test_the_guide_to_brokers_works_as_it_is_written(tmp_path: Path, redis_url: str) -> None:
    text = (DOCS / "guides/brokers.rst").read_text()
    site = Site(tmp_path, (DOCS / "tutorials/first_task.rst").read_text())
    settings = site.home / "site1/settings.py"
    in_database = settings.read_text()

    def says(name: str) -> None:
        written = blocks(text, name)[0].replace("redis://localhost:6379/0", redis_url)
        settings.write_text(in_database + written.replace("redis://localhost:6379/1", redis_url[:-1] + "1"))

    def in_redis(command: str, key: str) -> object:
        assert f"redis-cli {command}" in " ".join(text.split())
        with redis.Redis.from_url(redis_url) as client:
            return client.execute_command(command, key)

    def ended() -> int:
        code = "from taskq_django.models import JobResult as R; print(R.objects.filter(status='SUCCESSFUL').count())"
        return int(site.shell(code).splitlines()[-1])

    site.manage("migrate")
    assert "READY" in site.shell(ADD)  # in the database, before the URL is changed
    says("redis")
    site.manage("check", "--database", "default", "--fail-level", "WARNING")
    assert "READY" in site.shell(ADD)
    assert re.search(r"default .*\b10\b", site.manage("taskq_status"))
    assert in_redis("HLEN", "taskq:{shop}:jobs") == 5
    site.manage("taskq_worker", "--burst")
    assert ended() == 10
    assert in_redis("HLEN", "taskq:{shop}:jobs") == 0

    site.shell(ADD)
    says("drain")  # the server that had them is the one of "old" by now
    site.shell(ADD)
    site.manage("taskq_worker", "--burst")
    assert ended() == 20

    site.shell(ADD)
    settings.write_text(in_database)  # workers too early: what is in Redis waits
    site.manage("taskq_worker", "--burst")
    assert ended() == 20
    says("drain")
    site.manage("taskq_worker", "--burst")
    assert ended() == 25

    assert "manage.py taskq_new_store_id" in text
    assert "redis-cli DEL 'taskq:{shop}:store'" in site.manage("taskq_new_store_id", "--noinput")
    says("redis")
    with pytest.raises(AssertionError, match="belong to another database"):
        site.manage("check", "--database", "default")
    in_redis("DEL", "taskq:{shop}:store")
    site.manage("check", "--database", "default", "--fail-level", "WARNING")
