from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("taskq_django", "0009_pages")]

    operations = [
        migrations.AlterModelOptions(
            name="jobresult",
            options={
                "default_permissions": ("view", "delete"),
                "permissions": [
                    ("view_payload", "Can see arguments, results and errors of jobs"),
                    ("retry_job", "Can retry jobs"),
                    ("cancel_job", "Can cancel jobs"),
                    ("reschedule_job", "Can reschedule jobs"),
                ],
                "verbose_name": "result",
                "verbose_name_plural": "results",
            },
        ),
    ]
