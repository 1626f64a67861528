"""When a claimed job began, for tasks that must never begin twice; how many processes of a worker can run jobs."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("taskq_django", "0002_storage_parameters")]

    operations = [
        migrations.AddField("queuedjob", "begun_at", models.DateTimeField("begun at", blank=True, null=True)),
        migrations.AddField("workerprocess", "serving", models.IntegerField("serving", blank=True, null=True)),
    ]
