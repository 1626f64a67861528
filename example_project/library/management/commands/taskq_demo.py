"""``manage.py taskq_demo``: index a folder of text files with a real worker, and show what became of each job."""

import signal
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

import taskq_django
from library.models import Document
from library.tasks import index_file, read_missing_page, write_report
from taskq_django import Result
from taskq_django.exceptions import ResultTimeout, TaskFailed
from taskq_django.states import State

ENDINGS = {".rst", ".md", ".txt"}
DOCS = settings.BASE_DIR.parent / "docs"
SOURCES = Path(taskq_django.__file__).parent
WORDS = ["transaction", "retry", "worker"]  # looked up in the index by the report
UNREADABLE = (OSError, UnicodeDecodeError)  # what a file may do to its job; any other failure is a fault


class Command(BaseCommand):
    help = "Index a folder of text files: a job per file, one that writes the report, one that fails on purpose."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--folder", type=Path, help="Default: the docs of taskq_django, or its sources.")
        parser.add_argument("--report", type=Path, default=settings.BASE_DIR / "report.txt")
        parser.add_argument("--fresh", action="store_true", help="Begin with an empty database.")
        parser.add_argument("--no-worker", action="store_true", help="Let a worker that runs elsewhere do the work.")
        parser.add_argument("--timeout", type=float, default=60.0, help="Seconds to wait for each job. Default: 60.")

    def handle(self, *args: Any, **options: Any) -> None:
        files = text_files(options["folder"])
        if options["fresh"]:
            remove_database()
        call_command("migrate", verbosity=0)
        with worker(start=not options["no_worker"]):
            summary = self.demonstrate(files, options["report"].resolve(), options["timeout"])
        # Last, for how the worker ended counts too.
        self.stdout.write(self.style.SUCCESS(summary))

    def demonstrate(self, files: list[Path], report: Path, timeout: float) -> str:
        """Run the jobs and show what became of them; returns the summary."""
        self.stdout.write(f"Enqueueing {len(files)} jobs, one per file, and one that will fail …")
        self.stdout.flush()  # the worker writes to the same place
        indexed = index_file.enqueue_many([(str(path),) for path in files])
        broken = read_missing_page.enqueue(3)
        try:
            unread = wait_for(indexed, timeout)
            written = write_report.enqueue(str(report), WORDS)
            wait_for([written, broken], timeout)
        except ResultTimeout as error:
            raise CommandError(f"{error} Is a worker running?") from error
        if written.state is State.SUCCESSFUL:
            self.stdout.write(f"\nReport ({report}):\n\n{written.return_value}")
        self.show([*indexed, written, broken])
        for failure in broken.errors:
            self.stdout.write(f"\nThe job that failed on purpose:\n\n{failure.traceback}")
        if unread:
            self.stdout.write(self.style.WARNING(f"{len(unread)} of the files were not indexed:"))
            for result in unread:
                self.stdout.write(f"  {result.args[0]}: {result.reason}")
        self.stdout.flush()
        if found := [*faults_of_index(indexed), *faults_of_report(written, report), *faults_of_failure(broken)]:
            raise CommandError("The results are not what they must be:\n  " + "\n  ".join(found))
        return f"{len(files) - len(unread)} files indexed, 1 report written, 1 failure shown."

    def show(self, results: Sequence[Result[Any]]) -> None:
        self.stdout.write("Results:\n")
        for result in results:
            ran = result.started_at and result.finished_at  # not when it was cancelled before
            took = f"{(result.finished_at - result.started_at).total_seconds():.3f} s" if ran else ""
            what = Path(str(result.args[0])).name
            tries = f"{result.attempts} attempt" + ("s" if result.attempts != 1 else "")
            self.stdout.write(f"  {result.state:<11} {result.task.name:<18} {what:<24} {tries:<11} {took}")


def text_files(folder: Path | None) -> list[Path]:
    endings = ENDINGS
    if folder is None:
        folder, endings = (DOCS, ENDINGS) if DOCS.is_dir() else (SOURCES, {".py"})
    folder = folder.resolve()  # a worker that runs elsewhere has another working directory
    if not folder.is_dir():
        raise CommandError(f"There is no folder {folder}. Name one with --folder.")
    files = sorted(path for path in folder.rglob("*") if path.suffix in endings and path.is_file())
    if not files:
        raise CommandError(f"{folder} has no text files ({', '.join(sorted(endings))}). Name another with --folder.")
    return files


def faults_of_index(indexed: Sequence[Result[Any]]) -> Iterator[str]:
    """A job either counted what the index holds for its file, or failed because the file cannot be read."""
    counted = dict(Document.objects.values_list("path", "words"))
    for result in indexed:
        path = result.args[0]
        if result.state is State.SUCCESSFUL:
            if counted.get(path) != result.return_value:
                yield f"{path}: counted {result.return_value} words, but the index holds {counted.get(path)}."
        elif not (result.errors and issubclass(result.errors[-1].exception_class, UNREADABLE)):
            yield f"{path}: its job ended as {result.state}: {result.reason}"
    if not any(result.state is State.SUCCESSFUL for result in indexed):
        yield "No file was indexed."


def faults_of_report(written: Result[Any], report: Path) -> Iterator[str]:
    if written.state is not State.SUCCESSFUL:
        yield f"{report}: the report's job ended as {written.state}: {written.reason}"
        return
    words = list(Document.objects.values_list("words", flat=True))
    text = report.read_text(encoding="utf-8") if report.is_file() else ""
    if text != written.return_value:
        yield f"{report} does not hold the text that its job returned."
    if not text.startswith(f"{len(words)} files, {sum(words)} words\n"):
        yield f"{report} does not begin with the {len(words)} files and {sum(words)} words of the index."


def faults_of_failure(broken: Result[Any]) -> Iterator[str]:
    tracebacks = [failure.traceback for failure in broken.errors]
    if broken.state is not State.FAILED or not any("KeyError: 3" in text for text in tracebacks):
        yield f"The job that fails on purpose ended as {broken.state}, with {len(tracebacks)} tracebacks."


def remove_database() -> None:
    connection.close()
    for ending in ("", "-wal", "-shm"):
        Path(f"{connection.settings_dict['NAME']}{ending}").unlink(missing_ok=True)


def wait_for(results: Sequence[Result[Any]], timeout: float) -> list[Result[Any]]:
    """Wait for all; returns those that failed."""
    failed = []
    for result in results:
        try:
            result.get(timeout)
        except TaskFailed:
            failed.append(result)
    return failed


@contextmanager
def worker(*, start: bool) -> Iterator[None]:
    """A worker beside this command, started as a user starts it; stopped at the end."""
    if not start:
        yield
        return
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "taskq_worker"]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()  # its own processes notice, and end
            process.wait()
            raise CommandError("The worker did not end within 30 s of SIGTERM, and was killed.") from None
    if code:
        raise CommandError(f"The worker ended with exit code {code}.")
