"""Each page by the rules of axe-core, in both themes, on a desk and on a phone; and each act from the keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.test_every_page import walked
from tests.support import section

pytestmark = pytest.mark.timeout(900)  # axe-core takes seconds for a page on a busy machine

Opened = Callable[..., Any]
GRAVE = {"serious", "critical"}
OF_LOOKS = ["color-contrast", "link-in-text-block", "scrollable-region-focusable"]  # what a theme or a width decides
# Markup of Django's own: the label of the search box is an image, whose alternative text axe does not count here.
OF_DJANGO = {("label-title-only", "#searchbar")}

# What can be clicked, and neither is nor is in nor names something that the Tab key reaches; and what it reaches and
# looks the same with the focus as without.
LEFT_OUT = """
() => {
  const KEYED = "a[href], button, input, select, textarea, summary, [tabindex]";
  const all = [...document.querySelectorAll("#content *, main *")].filter((each) => each.checkVisibility());
  const keyed = all.filter((each) => each.matches(KEYED) && each.tabIndex >= 0 && !each.disabled);
  const clicked = all.filter((each) => getComputedStyle(each).cursor === "pointer"
    && !each.closest(KEYED) && !each.closest("label"));
  const look = (each) => [each, ...each.querySelectorAll("*")].map((part) => {
    const style = getComputedStyle(part);
    return ["outlineStyle", "borderColor", "boxShadow", "backgroundColor", "color", "textDecorationLine"]
      .map((name) => style[name]).join();
  }).join();
  const unseen = keyed.filter((each) => {
    document.activeElement.blur();
    const plain = look(each);
    each.focus({ focusVisible: true, preventScroll: true });
    return document.activeElement === each && look(each) === plain;
  });
  return [clicked, unseen].map((some) => some.map((each) => each.outerHTML.slice(0, 150)));
}
"""


def violations(page: Any, rules: list[str]) -> list[str]:
    """The serious and the critical ones: the rule, and the element that it is about."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    asked = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in axe.run(page, options=asked).response["violations"]
        if each["impact"] in GRAVE
        for node in each["nodes"]
        if (each["id"], node["target"][0]) not in OF_DJANGO
    ]


@pytest.fixture
def addresses(opened: Opened, monkeypatch: pytest.MonkeyPatch, settings: Any) -> dict[str, str]:
    settings.TASKQ = {"ADMIN": {"PAGE_SIZE": 8}}  # the other rows are like these
    opened("/admin/")
    return section.of_a_busy_day(monkeypatch)


@pytest.mark.parametrize(("theme", "width"), [("light", 1400), ("dark", 390)])
def test_no_page_has_a_grave_violation(opened: Opened, addresses: dict[str, str], theme: str, width: int) -> None:
    rules = [] if theme == "light" else OF_LOOKS
    grave = {}
    for name, page in walked(opened, addresses, theme=theme, width=width):
        if found := violations(page, rules):
            grave[name] = found
    assert grave == {}


def test_the_keyboard_reaches_whatever_is_clicked_and_shows_where_it_is(
    opened: Opened, addresses: dict[str, str]
) -> None:
    unreached, unseen = {}, {}
    for name, page in walked(opened, addresses):
        left_out = page.evaluate(LEFT_OUT)
        unreached |= {name: left_out[0]} if left_out[0] else {}
        unseen |= {name: left_out[1]} if left_out[1] else {}
    assert (unreached, unseen) == ({}, {})
