from __future__ import annotations

from uuid import UUID

import pytest

from taskq_django.jobs import is_id, new_id


def test_ids_are_version_7_and_in_the_order_they_were_made() -> None:
    ids = [new_id() for _ in range(5000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 5000
    assert {UUID(id_).version for id_ in ids} == {7}
    assert {UUID(id_).variant for id_ in ids} == {UUID(int=0x8 << 60).variant}


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("0198c0de-0000-7000-8000-000000000001", True),
        ("00000000-0000-0000-0000-000000000000", True),
        ("ffffffff-ffff-ffff-ffff-ffffffffffff", True),
        ("01234567-89ab-7def-0123-456789abcdef", True),
        ("01234567-89ab-8def-0123-456789abcdef", False),  # which MariaDB does not take
        ("of the night", False),
    ],
)
def test_an_id_is_what_every_store_takes_for_one(text: str, answer: bool) -> None:
    assert is_id(text) is answer
