from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class AwsaiConfig(AppConfig):
    name = "awsai"

    def ready(self) -> None:
        # These need the models, which exist only now.
        from awsai import shipped

        post_migrate.connect(shipped.load, sender=self)
