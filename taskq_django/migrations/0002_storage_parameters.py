"""PostgreSQL: how the hot table is stored. Each of its rows is updated once or twice and then deleted."""

from django.db import migrations

HOT_TABLE = {
    "fillfactor": 70,  # room for the updated row on the same page
    # By the default a table is vacuumed when a fifth of it is dead; this one turns over many times a minute.
    "autovacuum_vacuum_scale_factor": 0.01,
    "autovacuum_vacuum_threshold": 1000,
    "autovacuum_vacuum_cost_delay": 0,
    "autovacuum_analyze_scale_factor": 0.05,
}


def set_parameters(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        table = schema_editor.quote_name(apps.get_model("taskq_django", "QueuedJob")._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {table} SET ({', '.join(f'{k} = {v}' for k, v in HOT_TABLE.items())})")


def reset_parameters(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        table = schema_editor.quote_name(apps.get_model("taskq_django", "QueuedJob")._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {table} RESET ({', '.join(HOT_TABLE)})")


class Migration(migrations.Migration):
    dependencies = [("taskq_django", "0001_initial")]

    operations = [migrations.RunPython(set_parameters, reset_parameters)]
