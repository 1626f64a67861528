"""Tasks as a project has them: one indexes the words of a file, one writes a report, and a schedule runs one.

The forms of the admin enqueue them, under Tasks.
"""

import re
from collections import Counter
from pathlib import Path

from django.db import transaction
from django.db.models import Count, Sum

from taskq_django import every, task

from .models import Document, WordCount

WORD = re.compile(r"[a-z][a-z_]{3,98}")


@task
def index_file(path: str) -> int:
    """Count the words of one file in the database; returns how many there were."""
    counts = Counter(WORD.findall(Path(path).read_text(encoding="utf-8").lower()))
    with transaction.atomic():
        # A job may run twice when a worker dies: what it writes must then be the same.
        Document.objects.filter(path=path).delete()
        document = Document.objects.create(path=path, words=counts.total())
        WordCount.objects.bulk_create(
            WordCount(document=document, word=word, count=count) for word, count in counts.items()
        )
    return counts.total()


@task
def write_report(target: str, words: list[str]) -> str:
    """Write what the index holds, and where these words are, to a text file; returns the text."""
    totals = Document.objects.aggregate(files=Count("id"), words=Sum("words"))
    lines = [f"{totals['files']} files, {totals['words'] or 0} words", "", "The most frequent words:"]
    frequent = WordCount.objects.values("word").annotate(total=Sum("count"), files=Count("document"))
    lines += [
        f"  {row['word']:<14} {row['total']:>6} times in {row['files']:>3} files"
        for row in frequent.order_by("-total", "word")[:10]
    ]
    lines += ["", "The longest files:"]
    lines += [f"  {d.words:>6} words  {Path(d.path).name}" for d in Document.objects.order_by("-words", "path")[:5]]
    lines += ["", "Where some words are:"]
    for word in words:
        found = WordCount.objects.filter(word=word).order_by("-count", "document__path")
        names = [Path(path).name for path in found.values_list("document__path", flat=True)]
        lines.append(f"  {word:<14} {', '.join(names[:5]) or 'nowhere'}{' …' if names[5:] else ''}")
    text = "\n".join(lines) + "\n"
    Path(target).write_text(text, encoding="utf-8")
    return text


@task(schedule=every(minutes=1))
def count_words() -> int:
    """How many words the index holds."""
    return Document.objects.aggregate(words=Sum("words"))["words"] or 0
