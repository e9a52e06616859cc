from __future__ import annotations

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.db.models.signals import post_migrate


class AccessConfig(AppConfig):
    name = "incidentops.access"
    label = "access"

    def ready(self) -> None:
        # These need the models, which exist only now.
        from incidentops.access import append_only, revocation, roles, routes, schema

        del schema  # imported for its effect: the API's description learns of bearer tokens
        register(routes.check_declarations, Tags.urls)
        post_migrate.connect(append_only.protect_chains)
        post_migrate.connect(roles.ensure_groups, sender=self)
        revocation.watch()
