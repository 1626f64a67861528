"""What a worker tells of itself, and what somebody has asked it to do."""

from django.db import migrations, models, router

STATES = [("SERVING", "Serving"), ("QUIET", "Quiet"), ("STOPPING", "Stopping")]


def take_every_text(apps, schema_editor):
    """MariaDB and MySQL, as in 0002: whatever the database's default."""
    model = apps.get_model("taskq_django", "WorkerRequest")
    connection = schema_editor.connection
    if connection.vendor == "mysql" and router.allow_migrate_model(connection.alias, model):
        table = schema_editor.quote_name(model._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")


def number(verbose_name, help_text):
    return models.IntegerField(verbose_name, blank=True, help_text=help_text, null=True)


class Migration(migrations.Migration):
    dependencies = [("taskq_django", "0006_job_progress")]

    operations = [
        migrations.CreateModel(
            name="WorkerRequest",
            fields=[
                ("worker_id", models.CharField("worker", max_length=128, primary_key=True, serialize=False)),
                ("request", models.CharField("request", choices=[("QUIET", "Quiet"), ("STOP", "Stop")], max_length=10)),
                ("asked_at", models.DateTimeField("asked at")),
            ],
            options={
                "verbose_name": "request to a worker",
                "verbose_name_plural": "requests to workers",
                "default_permissions": (),
            },
        ),
        migrations.RunPython(take_every_text, migrations.RunPython.noop, atomic=False),  # MySQL: no DDL in one
        migrations.AlterModelOptions(
            name="workerprocess",
            options={
                "default_permissions": ("view",),
                "permissions": [("control_worker", "Can quiet and stop worker")],
                "verbose_name": "worker",
                "verbose_name_plural": "workers",
            },
        ),
        # A release before this one goes on writing rows without these.
        migrations.AddField(
            "workerprocess",
            "version",
            models.CharField("version", max_length=40, blank=True, default="", db_default=""),
        ),
        migrations.AddField("workerprocess", "threads", number("threads", "Sync jobs it runs at a time.")),
        migrations.AddField("workerprocess", "coroutines", number("coroutines", "Async jobs at a time.")),
        migrations.AddField("workerprocess", "busy", number("busy", "Jobs that run.")),
        migrations.AddField("workerprocess", "memory", number("memory", "MiB of all its processes.")),
        migrations.AddField(
            "workerprocess",
            "state",
            models.CharField("state", max_length=10, choices=STATES, blank=True, default="", db_default=""),
        ),
    ]
