"""Services, what they depend on, and what was changed: kept by people and pipelines, audited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction

from incidentops.access import audit
from incidentops.telemetry.models import Change, Dependency, Service


class InvalidInventory(ValueError):
    """What was asked for cannot be: `field` names the culprit, `reason` is for people."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class NameTaken(InvalidInventory):
    """Another service has this name."""


@dataclass(frozen=True, kw_only=True)
class TopologyEntry:
    name: str
    kind: str = Service.Kind.SERVICE
    depends_on: tuple[str, ...] = ()


def create_service(
    fields: Mapping[str, Any], *, depends_on: Sequence[str] = (), by: object
) -> Service:
    """Add a service with its dependencies.

    Raises:
        NameTaken: there is one of this name.
        InvalidInventory: a dependency is unknown or the service itself.
    """
    with transaction.atomic():
        service = _save(Service(**fields))
        _depend(service, depends_on)
        audit.record(
            "service.create",
            actor=by,
            target=f"service:{service.pk}",
            detail={**fields, "depends_on": list(depends_on)},
        )
    return service


def update_service(
    service: Service, changes: Mapping[str, Any], *, depends_on: Sequence[str] | None, by: object
) -> Service:
    """Change fields and, unless None, replace all dependencies. Raises as `create_service`."""
    with transaction.atomic():
        service = Service.objects.select_for_update().get(pk=service.pk)
        for name, value in changes.items():
            setattr(service, name, value)
        _save(service)
        detail = dict(changes)
        if depends_on is not None:
            _depend(service, depends_on)
            detail["depends_on"] = list(depends_on)
        audit.record("service.update", actor=by, target=f"service:{service.pk}", detail=detail)
    return service


def _save(service: Service) -> Service:
    try:
        with transaction.atomic():
            service.save()
    except IntegrityError:
        raise NameTaken("name", f"There is a service named {service.name!r}.") from None
    return service


def _depend(service: Service, names: Sequence[str]) -> None:
    callees = dict(Service.objects.filter(name__in=names).values_list("name", "pk"))
    for place, name in enumerate(names):
        if name not in callees:
            raise InvalidInventory(f"depends_on[{place}]", f"There is no service named {name!r}.")
        if callees[name] == service.pk:
            raise InvalidInventory(f"depends_on[{place}]", "A service cannot depend on itself.")
    service.calls.exclude(callee__in=callees.values()).delete()
    Dependency.objects.bulk_create(
        [Dependency(caller=service, callee_id=callee) for callee in sorted(callees.values())],
        ignore_conflicts=True,
    )


def note_service(service: Service, *, is_new: bool, by: object) -> None:
    """Record that a form saved this service with its dependencies, in the form's transaction."""
    names = service.calls.order_by("callee__name").values_list("callee__name", flat=True)
    audit.record(
        "service.create" if is_new else "service.update",
        actor=by,
        target=f"service:{service.pk}",
        detail={"name": service.name, "kind": service.kind, "depends_on": list(names)},
    )


def delete_service(service: Service, *, by: object) -> None:
    """Remove a service with its edges and changes. Its samples and logs stay until their time."""
    with transaction.atomic():
        target, name = f"service:{service.pk}", service.name
        service.delete()
        audit.record("service.delete", actor=by, target=target, detail={"name": name})


def import_topology(entries: Sequence[TopologyEntry], *, by: object) -> tuple[int, int]:
    """Make these services and exactly these dependencies of theirs: (created, updated).

    Services that are not named keep their place. Dependencies may name services of this import or
    of the inventory. All or nothing.

    Raises:
        InvalidInventory: a name comes twice, depends on itself or on something unknown.
    """
    _check_topology(entries)
    with transaction.atomic():
        names = [entry.name for entry in entries]
        known = set(Service.objects.filter(name__in=names).values_list("name", flat=True))
        Service.objects.bulk_create(
            # In one order, so that two imports at once do not wait for each other in a circle.
            sorted(
                (Service(name=entry.name, kind=entry.kind) for entry in entries),
                key=lambda service: service.name,
            ),
            update_conflicts=True,
            unique_fields=["name"],
            update_fields=["kind"],
        )
        _connect(entries)
        audit.record(
            "topology.import",
            actor=by,
            target="inventory",
            detail={"services": len(entries), "created": len(entries) - len(known)},
        )
    return len(entries) - len(known), len(known)


def _check_topology(entries: Sequence[TopologyEntry]) -> None:
    seen: set[str] = set()
    for place, entry in enumerate(entries):
        if entry.name in seen:
            raise InvalidInventory(f"services[{place}].name", f"{entry.name!r} comes twice.")
        seen.add(entry.name)
        if entry.name in entry.depends_on:
            where = f"services[{place}].depends_on[{entry.depends_on.index(entry.name)}]"
            raise InvalidInventory(where, "A service cannot depend on itself.")


def _connect(entries: Sequence[TopologyEntry]) -> None:
    named = {name for entry in entries for name in (entry.name, *entry.depends_on)}
    ids = dict(Service.objects.filter(name__in=named).values_list("name", "pk"))
    for place, entry in enumerate(entries):
        for at, name in enumerate(entry.depends_on):
            if name not in ids:
                raise InvalidInventory(
                    f"services[{place}].depends_on[{at}]", f"There is no service named {name!r}."
                )
    wanted = sorted(
        {(ids[entry.name], ids[name]) for entry in entries for name in entry.depends_on}
    )
    Dependency.objects.filter(caller__in=[ids[entry.name] for entry in entries]).delete()
    Dependency.objects.bulk_create(
        [Dependency(caller_id=caller, callee_id=callee) for caller, callee in wanted],
        ignore_conflicts=True,
    )


def record_change(fields: Mapping[str, Any], *, by: object) -> Change:
    with transaction.atomic():
        change = Change.objects.create(**fields)
        audit.record(
            "change.create",
            actor=by,
            target=f"change:{change.pk}",
            detail={"service": change.service.name, "kind": change.kind, "title": change.title},
        )
    return change


def update_change(change: Change, changes: Mapping[str, Any], *, by: object) -> Change:
    with transaction.atomic():
        change = Change.objects.select_for_update().get(pk=change.pk)
        for name, value in changes.items():
            setattr(change, name, value)
        change.save()
        audit.record(
            "change.update",
            actor=by,
            target=f"change:{change.pk}",
            detail={"fields": sorted(changes)},
        )
    return change


def delete_change(change: Change, *, by: object) -> None:
    with transaction.atomic():
        target, title = f"change:{change.pk}", change.title
        change.delete()
        audit.record("change.delete", actor=by, target=target, detail={"title": title})
