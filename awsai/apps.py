from __future__ import annotations

from django.apps import AppConfig


class AwsaiConfig(AppConfig):
    name = "awsai"
