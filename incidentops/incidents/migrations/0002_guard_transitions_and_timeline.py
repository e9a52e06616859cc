from __future__ import annotations

from django.db import migrations, models

from incidentops.incidents import triggers


def guard(apps, schema_editor):
    triggers.install(schema_editor)


def unguard(apps, schema_editor):
    triggers.remove(schema_editor)


class Migration(migrations.Migration):
    dependencies = [("incidents", "0001_initial")]

    operations = [
        # Added to a table with triggers, a column can make SQLite rebuild it: columns come first.
        migrations.AddField(
            model_name="incident",
            name="is_severity_fixed",
            field=models.BooleanField(default=False),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(fields=["incident", "-id"], name="alert_newest_of_incident"),
        ),
        migrations.RunPython(guard, unguard),
    ]
