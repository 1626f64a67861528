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

from library.models import Document
from library.tasks import index_file, read_missing_page, write_report
from taskq_django import Result
from taskq_django.exceptions import ResultTimeout, TaskFailed

ENDINGS = {".rst", ".md", ".txt"}
DOCS = settings.BASE_DIR.parent / "docs"


class Command(BaseCommand):
    help = "Index a folder of text files: a job per file, one that writes the report, one that fails on purpose."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--folder", type=Path, default=DOCS, help="Default: the docs of taskq_django.")
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
            self.demonstrate(files, options["report"], options["timeout"])

    def demonstrate(self, files: list[Path], report: Path, timeout: float) -> None:
        self.stdout.write(f"Enqueueing {len(files)} jobs, one per file, and one that will fail …")
        indexed = index_file.enqueue_many([(str(path),) for path in files])
        broken = read_missing_page.enqueue(3)
        results = [*indexed, broken]
        try:
            unread = wait_for(indexed, timeout)
            text = write_report.enqueue(str(report)).get(timeout)
            wait_for([broken], timeout)
        except ResultTimeout as error:
            raise CommandError(f"{error} Is a worker running?") from error
        self.stdout.write(f"\nReport ({report}):\n\n{text}")
        self.show(results)
        self.stdout.write(f"\nThe job that failed on purpose:\n\n{broken.errors[0].traceback}")
        if unread:
            self.stdout.write(self.style.WARNING(f"{len(unread)} of the files could not be read:"))
            for result in unread:
                self.stdout.write(f"  {result.args[0]}: {result.reason}")
        good = Document.objects.filter(path__in=[str(path) for path in files]).count()
        if good + len(unread) != len(files) or "KeyError: 3" not in broken.errors[0].traceback:
            raise CommandError("The results are not what they must be.")
        self.stdout.write(self.style.SUCCESS(f"{good} files indexed, 1 report written, 1 failure shown."))

    def show(self, results: Sequence[Result[Any]]) -> None:
        self.stdout.write("Results:\n")
        for result in results:
            took = (result.finished_at - result.started_at).total_seconds()
            what = Path(str(result.args[0])).name
            self.stdout.write(f"  {result.state:<11} {result.task.name:<18} {what:<24} {took:.3f} s")


def text_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise CommandError(f"There is no folder {folder}. Name one with --folder.")
    files = sorted(path for path in folder.rglob("*") if path.suffix in ENDINGS and path.is_file())
    if not files:
        raise CommandError(f"{folder} has no text files ({', '.join(sorted(ENDINGS))}). Name another with --folder.")
    return files


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
        code = process.wait(30)
    if code:
        raise CommandError(f"The worker ended with exit code {code}.")
