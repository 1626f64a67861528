"""When a claimed job began, for tasks that must never begin twice."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("taskq_django", "0002_storage_parameters")]

    operations = [
        migrations.AddField("queuedjob", "begun_at", models.DateTimeField("begun at", blank=True, null=True)),
    ]
