"""Is the process alive, is the system ready, how is it, and the same for Prometheus."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from incidentops.access.permissions import public, reading
from incidentops.health.examination import readiness, system_health
from incidentops.health.exposition import REGISTRY


@public("Load balancers and supervisors ask without credentials; the answer says nothing else.")
@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "alive"})


@public("Load balancers ask without credentials; the checks name no host and no secret.")
@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    ready, checks = readiness()
    return JsonResponse({"ready": ready, "checks": checks}, status=200 if ready else 503)


class SystemHealth(APIView):
    """Agents by state, queue, capacity, latency per phase, sockets, heartbeats."""

    access = reading("dashboard.view")

    @extend_schema(responses={200: dict})
    def get(self, request: Request) -> Response:
        return Response(system_health())


class _PrometheusText(BaseRenderer):
    media_type = "text/plain"
    format = "txt"
    charset = None

    def render(self, data: bytes, *args: object, **kwargs: object) -> bytes:
        return data


class Metrics(APIView):
    """Prometheus exposition; scrape it with a viewer's token as bearer token."""

    access = reading("dashboard.view")
    renderer_classes = [_PrometheusText]

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)
