"""Who may do what: the intended permission of every route, by route name.

A new route is added here on purpose; a route whose declaration changes is changed here too.
"""

from __future__ import annotations

PUBLIC = "public"

ROUTES: dict[str, str] = {
    # Coming and going
    "login": PUBLIC,
    "logout": PUBLIC,
    "signin": PUBLIC,
    "home": PUBLIC,
    # Probes and machines
    "healthz": PUBLIC,
    "readyz": PUBLIC,
    "metrics": "GET dashboard.view",
    "system-health": "GET dashboard.view",
    # Intake: the secret in header or path is checked by the view
    "intake": PUBLIC,
    "intake-by-path": PUBLIC,
    "intake-prometheus": PUBLIC,
    "intake-prometheus-by-path": PUBLIC,
    "intake-nothing": PUBLIC,
    # Pages
    "ops": "GET dashboard.view",
    "transparency": "GET dashboard.view",
    "demo": "GET kpi.view",
    "incident": "GET incident.view",
    "incident-act": "POST incident.respond",
    "approvals": "GET approval.view",
    "approve": "POST approval.decide",
    "reject": "POST approval.decide",
    # API
    "schema": "GET dashboard.view",
    "docs": "GET dashboard.view",
    "tokens": "GET token.view, POST token.write",
    "token": "GET token.view, DELETE token.write",
    "audit": "GET audit.view",
    "sources": "GET source.view, POST source.write",
    "source": "GET source.view, PATCH source.write, DELETE source.write",
    "source-rotate": "POST source.write",
    "source-preview": "POST source.view",
    "dead-letters": "GET source.view",
    "dead-letter": "GET source.view",
    "dead-letter-requeue": "POST deadletter.write",
    "services": "GET inventory.view, POST inventory.write",
    "topology": "PUT inventory.write",
    "service": "GET inventory.view, PATCH inventory.write, DELETE inventory.write",
    "changes": "GET inventory.view, POST change.write",
    "change": "GET inventory.view, PATCH change.write, DELETE change.write",
    "push-samples": "POST telemetry.write",
    "push-logs": "POST telemetry.write",
    "api-incidents": "GET incident.view, POST incident.open",
    "api-incident": "GET incident.view",
    "api-incident-alerts": "GET incident.view",
    "api-incident-timeline": "GET incident.view",
    "api-incident-acknowledge": "POST incident.respond",
    "api-incident-mitigate": "POST incident.respond",
    "api-incident-assign": "POST incident.respond",
    "api-incident-resolve": "POST incident.respond",
    "api-incident-close": "POST incident.respond",
    "api-incident-reopen": "POST incident.respond",
    "api-incident-comment": "POST incident.respond",
    "api-incident-merge": "POST incident.respond",
    "api-incident-split": "POST incident.respond",
    "api-incident-severity": "POST incident.respond",
    "api-incident-snooze": "POST incident.respond",
    "incident-response": "GET incident.view",
    "incident-response-requeue": "POST incident.respond",
    "agents": "GET dashboard.view",
    "approvals-api": "GET approval.view",
    "approval-approve": "POST approval.decide",
    "approval-reject": "POST approval.decide",
    "awsai-calls": "GET ledger.view",
    "awsai-summary": "GET dashboard.view",
    "awsai-services": "GET dashboard.view",
    "awsai-prices": "GET dashboard.view",
    "kpis": "GET kpi.view",
}
