"""Rules of the source that no import shows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import taskq_django

PACKAGE = Path(taskq_django.__file__).parent
DIALECTS, MIGRATIONS = PACKAGE / "store" / "dialects", PACKAGE / "migrations"
SQL = re.compile(
    r"\s*(SELECT\s|INSERT\s+INTO\s|UPDATE\s.*\sSET\s|DELETE\s+FROM\s|WITH\s.*\sAS\s|PRAGMA\s|SET\s+(SESSION|LOCAL)\s"
    r"|SHOW\s|BEGIN\b|EXPLAIN\s|LISTEN\s|NOTIFY\s|CREATE\s|ALTER\s|LOCK\s)",
    re.DOTALL,
)


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for path in PACKAGE.rglob("*.py"):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def sql_in(tree: ast.Module) -> Iterator[int]:
    """Lines with a statement in a string, with its execution, or with a question about the vendor."""
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said
        if is_text and SQL.match(node.value):  # type: ignore[attr-defined]
            yield node.lineno  # type: ignore[attr-defined]
        if isinstance(node, ast.Attribute) and node.attr in {"execute", "executemany", "vendor"}:
            yield node.lineno


def test_sql_and_differences_of_vendors_are_in_the_dialects_only() -> None:
    others = [(path, tree) for path, tree in sources() if not {DIALECTS, MIGRATIONS} & set(path.parents)]
    found = [f"{path.relative_to(PACKAGE)}:{line}" for path, tree in others for line in sql_in(tree)]
    assert found == []


def test_each_dialect_is_seen_to_write_sql() -> None:
    for name in ("mysql", "postgresql", "sqlite", "clock", "advice"):
        tree = ast.parse((DIALECTS / f"{name}.py").read_text(encoding="utf-8"))
        assert list(sql_in(tree)), name


def test_no_file_of_the_package_is_longer_than_a_reader_holds_in_mind() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path, _ in sources()}
    assert [path.name for path, lines in lengths.items() if lines > 300 and MIGRATIONS not in path.parents] == []


def test_texts_count_and_go_on_as_people_do() -> None:
    """Neither "1 jobs" nor "is full.; next try": ``counted`` and ``clause`` are there for them."""
    wrong = re.compile(r"%d (?!characters)[a-z ]*s\b|'s' if |'s' \* |\"%s; .*(one_line\(|, error\b|, each\b)")
    lines = [line for path in PACKAGE.rglob("*.py") for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if wrong.search(line)] == []


def test_the_contracts_of_brokers_ask_no_table() -> None:
    contracts = sorted((Path(__file__).parents[1] / "contracts").glob("test_*.py"))
    assert contracts
    for path in contracts:
        froms = [each for each in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(each, ast.ImportFrom)]
        parts = {part for each in froms for part in [*(each.module or "").split("."), *(n.name for n in each.names)]}
        assert not parts & {"db", "models", "store", "dialects", "connection", "transaction"}, path.name


NO_MODULES = {"pickle", "cPickle", "dill", "shelve", "marshal", "yaml", "jsonpickle", "code", "runpy"}
NO_CALLS = {"eval", "exec", "compile", "__import__"}
# Who imports by a name of the settings or of this package; and the registry, which looks first whether a task is there.
IMPORTERS = {
    *("__init__.py", "brokers/__init__.py", "compat/__init__.py"),
    *("checks/configuration.py", "conf/engines.py", "registry.py", "worker/run_context.py"),
}


def test_no_stored_text_can_become_code() -> None:
    importers = set()
    for path, tree in sources():
        where = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            modules = {*names, getattr(node, "module", None) or ""} if names else set()
            assert not modules & NO_MODULES, f"{where}:{node.lineno}"  # type: ignore[attr-defined]
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in NO_CALLS, f"{where}:{node.lineno}"
                if node.func.id in {"import_string", "import_module"}:
                    importers.add(where)
    assert importers == IMPORTERS


NOT_OURS = {"Traceback", "Exception in thread", "default/reports"}  # Python says it, or the test's own queue


def test_what_no_log_may_say_somebody_would_say() -> None:
    """Else a test that looks for it could not fail."""
    nodes = [node for _, tree in sources() for node in ast.walk(tree)]
    docs = {n.value for n in nodes if isinstance(n, ast.Expr) or (isinstance(n, ast.keyword) and n.arg == "doc")}
    texts = (node for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    ours = [node.value for node in texts if node not in docs]
    for path in (Path(__file__).parents[1] / "system").glob("test_*.py"):
        denied = set(re.findall(r'assert "([^"]+)" not in [^#\n]*(?:output|logs)', path.read_text("utf-8")))
        assert [text for text in denied - NOT_OURS if not any(text in each for each in ours)] == [], path.name
