"""When a beat was last seen."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("taskq_django", "0010_job_permissions")]

    operations = [
        migrations.AddField(
            "storeidentity", "beat_seen_at", models.DateTimeField("beat seen at", null=True, editable=False)
        ),
    ]
