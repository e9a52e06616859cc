"""Default deny: a view nobody declared is refused, whoever asks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme

from incidentops.access import routes, tokens
from incidentops.access.authentication import CHALLENGE
from incidentops.access.permissions import Access, is_allowed, permissions_of
from incidentops.access.tokens import TokenUser
from incidentops.rest.problems import problem, wants_problem

_log = logging.getLogger(__name__)


class DefaultDenyMiddleware:
    """REST views decide by `RolePermission`; here they only have to have declared something."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: object, kwargs: object
    ) -> HttpResponseBase | None:
        match = request.resolver_match
        rule = routes.demanded_by(view, match.url_name or "" if match else "")
        if rule is None:
            _log.error("%s declares no access and was refused.", request.path)
            return _forbidden(request)
        if rule.public or (routes.is_rest(view) and not routes.is_admin(view)):
            return None
        return _refusal(request, rule)


def _refusal(request: HttpRequest, rule: Access) -> HttpResponseBase | None:
    """The answer to a caller who may not pass; None for one who may."""
    text = tokens.bearer(request.headers.get("Authorization", ""))
    if text is not None:
        token = tokens.authenticate(text)
        if token is None:
            return _unauthorized("The token is unknown, expired or revoked.")
        request.user = TokenUser(token)  # type: ignore[assignment]  # as REST framework does: a user that is no row
        request.auth = token  # type: ignore[attr-defined]  # the attribute REST framework uses
    if not request.user.is_authenticated:
        return _to_sign_in(request)
    if not is_allowed(rule, request.method or "", permissions_of(request)):
        return _forbidden(request)
    if rule.permission_for(request.method or "") is None:
        return _not_allowed(request, rule)
    return None


def _to_sign_in(request: HttpRequest) -> HttpResponseBase:
    """People are led to the login page, programs are told that credentials are missing."""
    accepts = request.headers.get("Accept", "text/html")
    if request.method in ("GET", "HEAD") and "text/html" in accepts and not wants_problem(request):
        wanted = request.GET.get("next", "")
        if not url_has_allowed_host_and_scheme(wanted, allowed_hosts=None):
            wanted = request.get_full_path()
        response = redirect_to_login(wanted)
        patch_vary_headers(response, ["Accept"])
        return response
    return _unauthorized("Sign in, or send a token in the Authorization header.")


def _unauthorized(detail: str) -> HttpResponseBase:
    return problem(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": CHALLENGE})


def _not_allowed(request: HttpRequest, rule: Access) -> HttpResponseBase:
    methods = ", ".join(sorted(rule.by_method))
    if wants_problem(request):
        return problem(
            HTTPStatus.METHOD_NOT_ALLOWED, f"This takes {methods}.", headers={"Allow": methods}
        )
    return HttpResponseNotAllowed(sorted(rule.by_method))


def _forbidden(request: HttpRequest) -> HttpResponseBase:
    if wants_problem(request):
        return problem(HTTPStatus.FORBIDDEN, "Your role does not allow this.")
    raise PermissionDenied
