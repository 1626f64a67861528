"""The catalogues of the package's texts, without the tools of GNU gettext.

``python -m tests.support.languages`` renews them: it adds to each ``django.po`` what the code says anew, takes out what
it says no more, and compiles it.
"""

from __future__ import annotations

import ast
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from django.utils.translation.template import templatize

PACKAGE = Path(__file__).parents[2] / "taskq_django"
LOCALE = PACKAGE / "locale"

ONE = {"_", "_t", "gettext", "gettext_lazy", "gettext_noop"}
MANY = {"ngettext", "ngettext_lazy"}

Id = tuple[str, ...]  # of a text; with its plural where it has one
Catalogue = dict[Id, tuple[str, ...]]

_CALL = re.compile(r"(?<!\w)(_|gettext|ngettext)\((?=u?['\"])")
_LINE = re.compile(r'(?:(msgid|msgid_plural|msgstr)(?:\[\d\])? )?(".*")')


def said() -> set[Id]:
    """What the code and the templates mark for translation."""
    return {text for path in sorted(PACKAGE.rglob("*.py")) for text in _in_code(path.read_text())} | {
        text for path in sorted(PACKAGE.rglob("*.html")) for text in _in_template(path.read_text())
    }


def _in_code(source: str) -> Iterator[Id]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ONE | MANY:
            texts = node.args[: 2 if node.func.id in MANY else 1]
            if all(isinstance(text, ast.Constant) and isinstance(text.value, str) for text in texts):
                yield tuple(text.value for text in texts)  # type: ignore[attr-defined]


def _in_template(source: str) -> Iterator[Id]:
    code = templatize(source)
    for call in _CALL.finditer(code):
        # The call ends with its first closing bracket at which it can be read.
        for end in re.finditer(r"\)", code[call.start() :]):
            try:
                node = ast.parse(code[call.start() : call.start() + end.end()].strip(), mode="eval").body
            except SyntaxError:
                continue
            yield from _in_code(ast.unparse(node))
            break


def read_po(path: Path) -> tuple[Catalogue, bool]:
    """The texts with their translations, the header under ``("",)``; and is any of them fuzzy?"""
    found: Catalogue = {}
    text = path.read_text()
    for entry in text.split("\n\n"):
        parts: list[list[str]] = []
        for line in entry.splitlines():
            if match := _LINE.fullmatch(line):
                if match[1]:
                    parts.append([match[1], ""])
                parts[-1][1] += ast.literal_eval(match[2])
        if parts:
            names = tuple(value for name, value in parts if name != "msgstr")
            found[names] = tuple(value for name, value in parts if name == "msgstr")
    return found, "fuzzy" in text


def po_text(catalogue: Catalogue) -> str:
    entries = []
    for names, values in sorted(catalogue.items()):
        lines = [f"msgid {_quoted(names[0])}"]
        lines += [f"msgid_plural {_quoted(name)}" for name in names[1:]]
        if len(names) == 1:
            lines.append(f"msgstr {_quoted(values[0])}")
        else:
            lines += [f"msgstr[{number}] {_quoted(value)}" for number, value in enumerate(values)]
        entries.append("\n".join(lines) + "\n")
    return "\n".join(entries)


def _quoted(text: str) -> str:
    marks = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}
    pieces = ["".join(marks.get(sign, sign) for sign in piece) for piece in text.splitlines(keepends=True)] or [""]
    return "\n".join(f'"{piece}"' for piece in ([""] * (len(pieces) > 1) + pieces))


def compiled(catalogue: Catalogue) -> bytes:
    """A ``.mo`` of what is translated: https://www.gnu.org/software/gettext/manual/html_node/MO-Files.html"""
    pairs = sorted(
        ("\0".join(names).encode(), "\0".join(values).encode()) for names, values in catalogue.items() if all(values)
    )
    count = len(pairs)
    at = 28 + 16 * count
    tables: list[list[int]] = [[], []]
    for side in range(2):
        for pair in pairs:
            tables[side] += [len(pair[side]), at]
            at += len(pair[side]) + 1
    head = struct.pack("<7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, at)
    numbers = struct.pack(f"<{4 * count}I", *tables[0], *tables[1])
    return head + numbers + b"".join(pair[side] + b"\0" for side in range(2) for pair in pairs)


def renew() -> None:
    texts = said()
    for path in LOCALE.glob("*/LC_MESSAGES/django.po"):
        old, _ = read_po(path)
        kept = {names: old.get(names, ("",) * len(names)) for names in texts}
        path.write_text(po_text({("",): old[("",)], **kept}))
        path.with_suffix(".mo").write_bytes(compiled(read_po(path)[0]))


if __name__ == "__main__":
    renew()
