"""Two releases of this package, each in an environment of its own: the one before, and this one."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.workers import ROOT

# Nothing has been tagged yet. This is the last state with other tables that people were given: before partial indexes.
GIVEN = "be20557127af44b7bc10631989bdb7de86a395b2"


def commit_before() -> str:
    """What users may have beside this release during a deploy: the last tag before this commit.

    TASKQ_TEST_BEFORE names another commit or tag. Raises LookupError where the clone has it not.
    """
    name = os.environ.get("TASKQ_TEST_BEFORE") or _git("describe", "--tags", "--abbrev=0", "HEAD^") or GIVEN
    commit = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if not commit:
        raise LookupError(
            f"this is no clone that has {name}: fetch its history (git fetch --unshallow --tags), or set "
            "TASKQ_TEST_BEFORE to a commit or a tag that it has"
        )
    return commit


def both(folder: Path) -> dict[str, Path]:
    """The Python of each, ``before`` and ``now``, made by the first process that asks for those of this folder."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "before").exists():
            before = source_of(commit_before(), folder / "source")
            with ThreadPoolExecutor() as pool:
                list(pool.map(installed, [before, ROOT], [folder / "before", folder / "now"]))
    return {name: folder / name / "bin" / "python" for name in ("before", "now")}


def source_of(commit: str, folder: Path) -> Path:
    """Its files, put there."""
    folder.mkdir()
    archive = folder / "source.tar"
    subprocess.run(["git", "archive", "-o", str(archive), commit], cwd=ROOT, check=True)
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    archive.unlink()
    return folder


def installed(source: Path, folder: Path) -> None:
    """Make an environment in which the wheel of this source is.

    All else it has of the environment that runs the tests, because a deploy of this package changes nothing else.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    (site,) = (folder / "lib").glob("python*/site-packages")
    ours = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    # What a .pth file names is looked through after the folder in which it lies.
    (site / "outer.pth").write_text("\n".join(sorted(ours)))
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    # Also where a wheel of the same version lies in the outer environment.
    made = subprocess.run([*pip, "--ignore-installed", str(source)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    assert (site / "taskq_django" / "__init__.py").exists()


def _git(*command: str) -> str:
    """What it prints; "" where it fails, or is not there."""
    try:
        done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
