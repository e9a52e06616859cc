from __future__ import annotations

import hashlib
import json
from typing import Any

import django.db.models.deletion
from django.db import migrations, models


def share(apps: Any, schema_editor: Any) -> None:
    """Keep what each decision considered once for all decisions that considered the same."""
    decisions = apps.get_model("awsai", "RouteDecision")
    lists = apps.get_model("awsai", "Considered")
    for row in decisions.objects.filter(considered=None).iterator(chunk_size=500):
        text = json.dumps(row.candidates, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()
        lists.objects.get_or_create(digest=digest, defaults={"candidates": row.candidates})
        decisions.objects.filter(pk=row.pk).update(considered_id=digest)


def spread(apps: Any, schema_editor: Any) -> None:
    decisions = apps.get_model("awsai", "RouteDecision")
    for row in decisions.objects.select_related("considered").iterator(chunk_size=500):
        decisions.objects.filter(pk=row.pk).update(candidates=row.considered.candidates)


class Migration(migrations.Migration):
    dependencies = [("awsai", "0003_keep_conversations")]

    operations = [
        migrations.CreateModel(
            name="Considered",
            fields=[
                ("digest", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("candidates", models.JSONField()),
            ],
            options={"verbose_name_plural": "considered candidates"},
        ),
        migrations.AddField(
            model_name="routedecision",
            name="considered",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="decisions",
                to="awsai.considered",
            ),
        ),
        migrations.AlterField(
            model_name="routedecision", name="candidates", field=models.JSONField(default=list)
        ),
        migrations.RunPython(share, spread),
        migrations.AlterField(
            model_name="routedecision",
            name="considered",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="decisions",
                to="awsai.considered",
            ),
        ),
        migrations.RemoveField(model_name="routedecision", name="candidates"),
    ]
