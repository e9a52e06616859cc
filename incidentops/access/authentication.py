"""Bearer tokens of the API."""

from __future__ import annotations

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from incidentops.access import tokens
from incidentops.access.models import ApiToken
from incidentops.access.tokens import TokenUser

CHALLENGE = 'Bearer realm="IncidentOps"'


class BearerAuthentication(BaseAuthentication):
    """`request.user` is a `TokenUser`, `request.auth` the token."""

    def authenticate(self, request: Request) -> tuple[TokenUser, ApiToken] | None:
        text = tokens.bearer(request.headers.get("Authorization", ""))
        if text is None:
            return None
        token = tokens.authenticate(text)
        if token is None:
            raise AuthenticationFailed("The token is unknown, expired or revoked.")
        return TokenUser(token), token

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE
