"""What each worker process counts, for the pages that tell how it stands."""

from django.db import migrations, models, router


def take_every_text(apps, schema_editor):
    """MariaDB and MySQL, as in 0002: whatever the database's default."""
    model = apps.get_model("taskq_django", "JobCounts")
    connection = schema_editor.connection
    if connection.vendor == "mysql" and router.allow_migrate_model(connection.alias, model):
        table = schema_editor.quote_name(model._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")


class Migration(migrations.Migration):
    dependencies = [("taskq_django", "0007_workers")]

    operations = [
        migrations.CreateModel(
            name="JobCounts",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("worker_id", models.CharField("worker", max_length=128)),
                ("seconds", models.IntegerField("seconds")),
                ("begins_at", models.DateTimeField("begins at")),
                ("counts", models.TextField("counts")),
            ],
            options={
                "verbose_name": "counts of jobs",
                "verbose_name_plural": "counts of jobs",
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("seconds", "begins_at", "worker_id"), name="taskq_job_counts")
                ],
            },
        ),
        migrations.RunPython(take_every_text, migrations.RunPython.noop, atomic=False),  # MySQL: no DDL in one
    ]
