"""Pauses with a reason and an end; the pages of the admin that have no table, for their permissions."""

from django.db import migrations, models


def page(name, base, verbose_name, verbose_name_plural, *permissions):
    options = {
        "verbose_name": verbose_name,
        "verbose_name_plural": verbose_name_plural,
        "proxy": True,
        "indexes": [],
        "constraints": [],
        "default_permissions": ("view",),
    }
    if permissions:
        options["permissions"] = list(permissions)
    return migrations.CreateModel(name=name, fields=[], options=options, bases=(f"taskq_django.{base}",))


class Migration(migrations.Migration):
    dependencies = [("taskq_django", "0008_job_counts")]

    operations = [
        # A release before this one goes on writing rows without these.
        migrations.AddField(
            "pausedqueue", "reason", models.CharField("reason", max_length=200, blank=True, default="", db_default="")
        ),
        migrations.AddField(
            "pausedqueue",
            "until",
            models.DateTimeField("until", blank=True, null=True, help_text="Empty: until it is resumed."),
        ),
        page("Dashboard", "storeidentity", "dashboard", "dashboard"),
        page(
            "Queue",
            "pausedqueue",
            "queue",
            "queues",
            ("control_queue", "Can pause and resume queue"),
            ("purge_queue", "Can purge queue"),
        ),
        page("RegisteredTask", "storeidentity", "task", "tasks", ("enqueue_task", "Can enqueue task")),
    ]
