"""How far running jobs have said that they are."""

from django.db import migrations, models, router


def take_every_text(apps, schema_editor):
    """MariaDB and MySQL, as in 0002: whatever the database's default."""
    model = apps.get_model("taskq_django", "JobProgress")
    connection = schema_editor.connection
    if connection.vendor == "mysql" and router.allow_migrate_model(connection.alias, model):
        table = schema_editor.quote_name(model._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")


class Migration(migrations.Migration):
    dependencies = [("taskq_django", "0005_partial_indexes")]

    operations = [
        migrations.CreateModel(
            name="JobProgress",
            fields=[
                ("job_id", models.UUIDField("job", primary_key=True, serialize=False)),
                ("attempt", models.IntegerField("attempt")),
                ("done", models.FloatField("done")),
                ("total", models.FloatField("total", null=True)),
                ("text", models.CharField("text", max_length=255)),
                ("updated_at", models.DateTimeField("updated at")),
            ],
            options={
                "verbose_name": "progress of a job",
                "verbose_name_plural": "progress of jobs",
                "default_permissions": (),
            },
        ),
        migrations.RunPython(take_every_text, migrations.RunPython.noop, atomic=False),  # MySQL: no DDL in one
    ]
