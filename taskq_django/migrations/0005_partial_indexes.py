"""Indexes of the hot table that hold the rows of one status only, where the database can have such."""

from django.db import migrations, models, router, transaction

import taskq_django.models.indexes

BEFORE = {
    "taskq_queued_claim": ["backend", "status", "queue_name", "rank", "available_at", "id"],
    "taskq_queued_due": ["backend", "status", "available_at"],
}
AFTER = [
    taskq_django.models.indexes.StatusIndex(
        "backend", "queue_name", "rank", "available_at", "id", status="READY", name="taskq_queued_claim"
    ),
    taskq_django.models.indexes.StatusIndex(
        "backend", "available_at", "queue_name", status="SCHEDULED", name="taskq_queued_due"
    ),
    taskq_django.models.indexes.StatusIndex("worker_id", status="RUNNING", name="taskq_queued_running"),
]


def narrow(apps, schema_editor):
    replace(apps, schema_editor, AFTER, set())


def widen(apps, schema_editor):
    replace(apps, schema_editor, [models.Index(fields=each, name=name) for name, each in BEFORE.items()], set(BEFORE))


def replace(apps, schema_editor, indexes, full):
    """Make these indexes the only ones of ours; ``full``: the names of those that have no condition.

    MariaDB and MySQL keep what they have. On PostgreSQL nobody waits meanwhile; what was cut off is begun again. Names are
    of the current schema: another one of the search path may have such an index, too.
    """
    connection = schema_editor.connection
    model = apps.get_model("taskq_django", "QueuedJob")
    if connection.vendor == "mysql" or not router.allow_migrate_model(connection.alias, model):
        return
    is_online = connection.vendor == "postgresql"
    quote = schema_editor.quote_name

    def drop(name):
        if look(connection, name)[0]:
            schema_editor.execute(f"DROP INDEX {'CONCURRENTLY ' if is_online else ''}{quote(name)}", None)

    for index in indexes:
        name, (is_there, is_full) = index.name, look(connection, index.name)
        if is_there and is_full == (name in full):
            drop(f"{name}_old")
        elif is_online:
            new, old = f"{name}_new", f"{name}_old"
            drop(new)
            made = index.clone()
            made.name = new
            schema_editor.execute(made.create_sql(model, schema_editor, concurrently=True), None)
            with transaction.atomic(using=connection.alias):
                if is_there:
                    schema_editor.execute(f"ALTER INDEX {quote(name)} RENAME TO {quote(old)}", None)
                schema_editor.execute(f"ALTER INDEX {quote(new)} RENAME TO {quote(name)}", None)
            drop(old)
        else:
            drop(name)
            schema_editor.execute(index.create_sql(model, schema_editor), None)
    if full:
        drop("taskq_queued_running")


def look(connection, name):
    """Is there an index of this name, and is it one of all rows?"""
    sql = (
        "SELECT indexdef FROM pg_indexes WHERE indexname = %s AND schemaname = current_schema()"
        if connection.vendor == "postgresql"
        else "SELECT sql FROM sqlite_master WHERE type = 'index' AND name = %s"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [name])
        row = cursor.fetchone()
    return row is not None, row is not None and " WHERE " not in row[0].upper()


class Migration(migrations.Migration):
    atomic = False  # for CONCURRENTLY

    dependencies = [("taskq_django", "0004_messages")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(narrow, widen)],
            [
                *(migrations.RemoveIndex("queuedjob", name) for name in BEFORE),
                *(migrations.AddIndex("queuedjob", index) for index in AFTER),
            ],
        )
    ]
