"""Pages to sign in and out."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from axes.helpers import get_cool_off
from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.authentication import SessionAuthentication

from incidentops.access import audit, signin
from incidentops.access.permissions import Access, public, requires


class SignIn(LoginView):
    """User name and password; django-axes counts the failures."""

    access = Access(public=True, reason="Who is not signed in yet must be able to sign in.")
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        with transaction.atomic():
            response = super().form_valid(form)
            user = form.get_user()
            audit.record("user.sign_in", actor=user, target=f"user:{user}", detail={"by": "form"})
        return response


def too_many_attempts(
    request: HttpRequest, response: HttpResponse | None, credentials: dict[str, Any] | None
) -> HttpResponse:
    """What django-axes answers while a name is locked for an address."""
    del response, credentials
    wait = get_cool_off(request)
    seconds = int(wait.total_seconds()) if wait else 0
    page = render(request, "429.html", status=HTTPStatus.TOO_MANY_REQUESTS)
    page["Retry-After"] = str(seconds)
    return page


@public("Leaving needs no right.")
@never_cache
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    user = request.user
    with transaction.atomic():
        logout(request)
        if user.is_authenticated:
            audit.record("user.sign_out", actor=user, target=f"user:{user}")
    return redirect(settings.LOGOUT_REDIRECT_URL)


@public("The one-time secret in the link is the credential.")
@sensitive_variables("secret")
@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_by_link(request: HttpRequest, secret: str) -> HttpResponse:
    """Looking changes nothing, so that link previews do not use the link up; the button does."""
    if request.method == "POST" and signin.consume(request, secret) is not None:
        return redirect(settings.LOGIN_REDIRECT_URL)
    is_open = request.method != "POST" and signin.is_open(secret)
    page = render(request, "registration/signin.html", {"is_open": is_open})
    page.status_code = HTTPStatus.OK if is_open else HTTPStatus.GONE
    # The address of this page is a secret: no page that follows may learn it. Told nothing at all,
    # browsers would hide the origin of the form as well, and it would be refused.
    page["Referrer-Policy"] = "strict-origin"
    return page


class _Swagger(SpectacularSwaggerSplitView):
    template_name = "access/docs.html"
    url_name = "schema"
    # For the name and the links in the page's head; who may read it is decided by `docs`.
    authentication_classes = (SessionAuthentication,)
    permission_classes = ()


_swagger = _Swagger.as_view()


@requires("dashboard.view")
def docs(request: HttpRequest) -> HttpResponse:
    """The API's description for people; the page asks for the machine's form itself."""
    return _swagger(request)
