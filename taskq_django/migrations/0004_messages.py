"""What the store knows of jobs that are messages in an engine."""

from uuid import uuid4

from django.db import migrations, models, router


def migrated(apps, schema_editor, name):
    """The model, where its table is in this database; else None."""
    model = apps.get_model("taskq_django", name)
    return model if router.allow_migrate_model(schema_editor.connection.alias, model) else None


def identify(apps, schema_editor):
    if identity := migrated(apps, schema_editor, "StoreIdentity"):
        rows = identity._default_manager.using(schema_editor.connection.alias)
        rows.get_or_create(id=1, defaults={"uuid": uuid4()})


def take_every_text(apps, schema_editor):
    """MariaDB and MySQL, as in 0002: whatever the database's default."""
    wish = migrated(apps, schema_editor, "CancelWish")
    if wish and schema_editor.connection.vendor == "mysql":
        table = schema_editor.quote_name(wish._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")


class Migration(migrations.Migration):
    dependencies = [("taskq_django", "0003_begun_and_serving")]

    operations = [
        migrations.CreateModel(
            name="CancelWish",
            fields=[
                ("job_id", models.UUIDField("job", primary_key=True, serialize=False)),
                ("backend", models.CharField("backend", max_length=64)),
                ("reason", models.TextField("reason", blank=True, default="")),
                ("asked_at", models.DateTimeField("asked at")),
            ],
            options={
                "verbose_name": "wish to cancel",
                "verbose_name_plural": "wishes to cancel",
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="StoreIdentity",
            fields=[
                ("id", models.SmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ("uuid", models.UUIDField("UUID")),
            ],
            options={
                "verbose_name": "identity of the store",
                "verbose_name_plural": "identity of the store",
                "default_permissions": (),
            },
        ),
        migrations.RunPython(take_every_text, migrations.RunPython.noop, atomic=False),  # MySQL: no DDL in one
        migrations.RunPython(identify, migrations.RunPython.noop),
        # The last, because it locks the hot table until the end. At once on every database: no row is written.
        migrations.AddField("queuedjob", "sender", models.UUIDField(blank=True, editable=False, null=True)),
    ]
