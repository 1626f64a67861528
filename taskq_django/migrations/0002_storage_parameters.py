"""How the tables are stored, where a model cannot say it."""

from django.db import migrations

# PostgreSQL: each row of the hot table is updated once or twice and then deleted.
HOT_TABLE = {
    "fillfactor": 70,  # room for the updated row on the same page
    # By the default a table is vacuumed when a fifth of it is dead; this one turns over many times a minute.
    "autovacuum_vacuum_scale_factor": 0.01,
    "autovacuum_vacuum_threshold": 1000,
    "autovacuum_vacuum_cost_delay": 0,
    "autovacuum_analyze_scale_factor": 0.05,
}


def set_parameters(apps, schema_editor):
    quote = schema_editor.quote_name
    match schema_editor.connection.vendor:
        case "postgresql":
            table = quote(apps.get_model("taskq_django", "QueuedJob")._meta.db_table)
            schema_editor.execute(f"ALTER TABLE {table} SET ({', '.join(f'{k} = {v}' for k, v in HOT_TABLE.items())})")
        case "mysql":
            # Whatever the database's default: every text can be stored, and "Mail" is another queue than "mail".
            for model in apps.get_app_config("taskq_django").get_models():
                table = quote(model._meta.db_table)
                schema_editor.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")


def reset_parameters(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        table = schema_editor.quote_name(apps.get_model("taskq_django", "QueuedJob")._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {table} RESET ({', '.join(HOT_TABLE)})")


class Migration(migrations.Migration):
    dependencies = [("taskq_django", "0001_initial")]

    operations = [
        migrations.RunPython(set_parameters, reset_parameters, atomic=False)
    ]  # MySQL: no DDL in a transaction
