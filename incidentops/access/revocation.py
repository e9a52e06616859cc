"""Close the sockets of users whose rights changed, whoever changed them.

Password forms, the admin site and `logout()` save users themselves, so this listens to Django's
signals. Nothing else hangs on them.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import m2m_changed, post_delete, pre_delete, pre_save

from incidentops.realtime import control

_DECISIVE = ("password", "is_active", "is_superuser")


def watch() -> None:
    user_logged_out.connect(_on_sign_out)
    pre_save.connect(_on_save, sender=User)
    post_delete.connect(_on_delete, sender=User)
    m2m_changed.connect(_on_roles, sender=User.groups.through)
    pre_delete.connect(_on_group_deleted, sender=Group)


def _close(user_id: int) -> None:
    control.revoke(f"user:{user_id}")


def _on_sign_out(user: User | None, **kwargs: Any) -> None:
    if user is not None:
        _close(user.pk)


def _on_save(
    instance: User, raw: bool, update_fields: frozenset[str] | None, **kwargs: Any
) -> None:
    watched = [name for name in _DECISIVE if update_fields is None or name in update_fields]
    if raw or instance._state.adding or not watched:
        return
    before = User.objects.filter(pk=instance.pk).values(*watched).first()
    if before is not None and any(before[name] != getattr(instance, name) for name in watched):
        _close(instance.pk)


def _on_delete(instance: User, **kwargs: Any) -> None:
    _close(instance.pk)


def _on_roles(instance: User | Group, action: str, pk_set: set[int] | None, **kwargs: Any) -> None:
    if action not in ("post_add", "post_remove", "pre_clear"):
        return
    if isinstance(instance, User):
        _close(instance.pk)
        return
    for user_id in pk_set or instance.user_set.values_list("pk", flat=True):
        _close(user_id)


def _on_group_deleted(instance: Group, **kwargs: Any) -> None:
    for user_id in instance.user_set.values_list("pk", flat=True):
        _close(user_id)
