from __future__ import annotations

from uuid import UUID

from taskq_django.jobs import new_id


def test_ids_are_version_7_and_in_the_order_they_were_made() -> None:
    ids = [new_id() for _ in range(5000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 5000
    assert {UUID(id_).version for id_ in ids} == {7}
    assert {UUID(id_).variant for id_ in ids} == {UUID(int=0x8 << 60).variant}
