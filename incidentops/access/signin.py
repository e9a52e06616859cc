"""How people come in: the first administrator and one-time links."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.contrib.auth import login
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils.timezone import now

from incidentops import environment
from incidentops.access import audit, roles
from incidentops.access.models import SignInLink
from incidentops.access.roles import Role

FIRST_ADMIN = "admin"
LINK_LIFETIME = timedelta(hours=1)
_BACKEND = "django.contrib.auth.backends.ModelBackend"


def ensure_first_admin(*, wants_link: bool = False) -> tuple[User, str | None]:
    """The user `admin`, made at the first start, and a sign-in link where one is needed.

    With IOP_ADMIN_PASSWORD that is the password and no link is made; a password that somebody set
    since is left alone. Without it, the first start yields a link, later ones when asked.
    """
    password = environment.read("IOP_ADMIN_PASSWORD")
    with transaction.atomic():
        admin, is_new = User.objects.get_or_create(
            username=FIRST_ADMIN, defaults={"is_staff": True, "is_superuser": True}
        )
        if is_new:
            admin.set_unusable_password()
        if password and not admin.has_usable_password():
            admin.set_password(password)
        if is_new or password:
            admin.save()
        roles.grant(admin, Role.ADMIN)
        if is_new:
            audit.record("user.create", actor="first start", target=f"user:{admin}")
    needs_link = wants_link or (is_new and not password)
    return admin, create_link(admin) if needs_link else None


def create_link(user: User, ttl: timedelta = LINK_LIFETIME) -> str:
    """The path of a page on which this user signs in, once."""
    secret = secrets.token_urlsafe(32)
    SignInLink.objects.filter(expires_at__lt=now() - timedelta(days=30)).delete()
    SignInLink.objects.create(user=user, digest=_digest(secret), expires_at=now() + ttl)
    return reverse("signin", args=[secret])


def is_open(secret: str) -> bool:
    """Would the link still sign somebody in?"""
    return _open_links(secret).exists()


def consume(request: HttpRequest, secret: str) -> User | None:
    """Sign the link's user in and use the link up; None when it was used or has expired."""
    with transaction.atomic():
        # Locked, then looked at: of two who click at once, one wins.
        link = _open_links(secret).select_for_update(of=("self",)).select_related("user").first()
        if link is None or link.used_at is not None:
            return None
        user = link.user
        SignInLink.objects.filter(pk=link.pk).update(used_at=Now())
        login(request, user, backend=_BACKEND)
        audit.record("user.sign_in", actor=user, target=f"user:{user}", detail={"by": "link"})
    return user


def _open_links(secret: str) -> QuerySet[SignInLink]:
    return SignInLink.objects.filter(
        digest=_digest(secret), used_at=None, expires_at__gt=Now(), user__is_active=True
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
