"""What holds of every page of the section: it fits a phone, and what somebody has written into it stays a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import section

Opened = Callable[..., Any]
LONG = "shop.warehouse.deliveries.tasks.reconcile_the_ledgers_of_all_branches_" * 4
# Elements that only a text by another hand can have brought.
BROUGHT = """
[...document.querySelectorAll("*")].filter((each) =>
  [...each.attributes].some((attribute) => attribute.name.startsWith("on"))
  || /^\\s*javascript:/i.test(each.getAttribute("href") || each.getAttribute("action") || "")
  || each.matches('img[src="x"], script:not([src]):not([type])')
).map((each) => each.outerHTML)
"""
WIDE = """
() => {
  const page = document.documentElement;
  if (page.scrollWidth <= page.clientWidth) return [];
  return [...document.querySelectorAll("body *")]
    .filter((each) => each.getBoundingClientRect().right > page.clientWidth + 1)
    .map((each) => `${each.tagName}.${each.className}#${each.id}: ${Math.round(each.getBoundingClientRect().right)}`);
}
"""


def walked(
    opened: Opened, addresses: dict[str, str], *, width: int = 1400, **options: Any
) -> Iterator[tuple[str, Any]]:
    """Each page in turn."""
    page = opened("/admin/", **options)
    page.set_viewport_size({"width": width, "height": 900})
    root = page.url.partition("/admin/")[0]
    for name, address in addresses.items():
        assert page.goto(root + address).ok, name
        yield name, page


@pytest.mark.parametrize("text", ["a", LONG], ids=["short texts", "long texts"])
def test_no_page_scrolls_sideways_on_a_phone(opened: Opened, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    opened("/admin/")
    addresses = section.of_a_busy_day(monkeypatch, *[text] * (text == LONG))
    wide = {}
    for name, page in walked(opened, addresses, width=390):
        if found := page.evaluate(WIDE):
            wide[name] = found
    assert wide == {}


def test_what_somebody_has_written_stays_a_text(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """No element comes of it and no dialog; that the policy for content forbids nothing, ``opened`` asserts."""
    opened("/admin/")
    addresses = section.of_a_busy_day(monkeypatch, *section.HOSTILE)
    brought, said = {}, []
    for name, page in walked(opened, addresses):
        page.on("dialog", lambda dialog: said.append(dialog.message) or dialog.dismiss())
        if found := page.evaluate(BROUGHT):
            brought[name] = found
    assert (brought, said) == ({}, [])
