"""What a page looks like, measured in the browser."""

from __future__ import annotations

from typing import Any

# Of each text in elements of ours: its contrast with what is behind it, where that is less than 4.5 to 1.
_FAINT = """
(within) => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll(within)) {
    const own = [...element.childNodes].filter((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own.length || !element.checkVisibility() || element.offsetWidth <= 1) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const name = `${element.className || element.tagName}: ${own[0].textContent.trim()}`;
    if (ratio < 4.5) faint.push(`${name}: ${ratio.toFixed(2)}`);
  }
  return faint;
}
"""
_NAMED = ('[class^="taskq-"]', '[class*=" taskq-"]', '[id^="taskq-"]')
OURS = ", ".join(f"#content {each}, #content {each} *" for each in _NAMED)

_CUT = """
(within) => [...document.querySelectorAll(within)]
  .filter((box) => box.checkVisibility() && box.scrollWidth > box.clientWidth + 1)
  .map((box) => `${box.id || box.className}: ${box.scrollWidth} in ${box.clientWidth}`)
"""

_LINES = """
(rows) => [...document.querySelectorAll(rows)].map((row) => Math.max(...[...row.cells].map((cell) => {
  const style = getComputedStyle(cell);
  const height = cell.getBoundingClientRect().height - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
  return height / parseFloat(style.lineHeight);
})))
"""


def faint_texts(page: Any, within: str = OURS) -> list[str]:
    found: list[str] = page.evaluate(_FAINT, within)
    return found


def cut_boxes(page: Any, within: str) -> list[str]:
    """Those whose content is wider than they are."""
    found: list[str] = page.evaluate(_CUT, within)
    return found


def lines_of_rows(page: Any, rows: str) -> list[float]:
    """How many lines of text high each row is."""
    found: list[float] = page.evaluate(_LINES, rows)
    return found
