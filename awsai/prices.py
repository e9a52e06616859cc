"""The lists of prices: from the file or from AWS into a draft, and from a draft into force.

The shipped list is loaded after each `migrate` (`load` is connected to `post_migrate`), because
that is when an installation or an upgrade has its tables, and before anything can call. The first
list comes into force by itself; every later one waits as a draft, since it could undo what a person
has set.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from django.db import transaction
from django.utils.timezone import now

from awsai import offers, pricing
from awsai.freshness import kept_fresh
from awsai.models import CatalogueModel, PriceRate, PriceVersion
from awsai.models.prices import PriceStatus, RateConfidence, Scope
from incidentops.access import audit

FILE = Path(__file__).parent / "data" / "prices.json"
# A change beyond this needs a person who says so.
LARGE_CHANGE = Fraction(1, 5)

_COPIED = (
    "service",
    "region",
    "scope",
    "sku",
    "meter",
    "tier",
    "min_input_tokens",
    "unit_size",
    "amount",
    "currency",
    "effective_from",
    "effective_to",
    "confidence",
    "source_url",
    "note",
)


_Rates = dict[tuple[Any, ...], list[PriceRate]]


class NotADraft(Exception):
    """Only a draft can come into force."""


class OverlappingRates(Exception):
    """Two rates of one name hold on the same day."""


class NeedsConfirmation(Exception):
    """The draft has what a person must look at first: `reasons`, one sentence each."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


# --- In force ----------------------------------------------------------------------------------


@kept_fresh
def in_force() -> pricing.PriceList | None:
    """The rates to bill by; None when no list is in force."""
    active = PriceVersion.objects.filter(status=PriceStatus.ACTIVE).first()
    if active is None:
        return None
    return _price_list(active.pk, active.label, active.activated_at)


@lru_cache(maxsize=4)
def _price_list(pk: int, label: str, activated_at: datetime | None) -> pricing.PriceList:
    """Kept, since the rates of a list in force never change."""
    del activated_at  # a part of the key only: what a rolled back transaction numbered `pk` differs
    rates = PriceRate.objects.filter(version=pk)
    return pricing.PriceList(version=label, rates=map(_rate, rates))


def _rate(row: PriceRate) -> pricing.Rate:
    return pricing.Rate(
        sku=row.sku,
        meter=row.meter,
        scope=cast("pricing.Scope", row.scope),
        region=row.region,
        tier=cast("pricing.Tier", row.tier),
        min_input_tokens=row.min_input_tokens,
        unit_size=row.unit_size,
        amount=row.amount,
        effective_from=row.effective_from,
        effective_to=row.effective_to,
        confidence=cast("pricing.RateConfidence", row.confidence),
    )


# --- From the file -----------------------------------------------------------------------------


def load(path: Path = FILE) -> PriceVersion | None:
    """Store the list of a file, unless a list of the same rates is known: then None."""
    document = json.loads(path.read_text())
    rates = list(_rates_of(document))
    if overlapping := _overlapping(rates):
        raise OverlappingRates(f"{path.name}: {overlapping}")
    with transaction.atomic():
        if PriceVersion.objects.filter(sha256=_digest(rates)).exists():
            return None
        version = _store(
            rates,
            source=document["source"],
            fetched_at=datetime.fromisoformat(document["fetched_at"]),
            note=f"shipped as {path.name}",
        )
        if not PriceVersion.objects.filter(status=PriceStatus.ACTIVE).exists():
            _enforce(version, by="release")
    return version


def _rates_of(document: Mapping[str, Any]) -> Iterator[PriceRate]:
    for group in document["rates"]:
        for region in group["regions"]:
            for meter, amount in group["amounts"].items():
                yield PriceRate(
                    service=group["service"],
                    sku=group["sku"],
                    scope=group["scope"],
                    region=region,
                    tier=group.get("tier", "default"),
                    min_input_tokens=group.get("min_input_tokens", 0),
                    meter=meter,
                    unit_size=group["unit_size"],
                    amount=Decimal(amount),
                    currency=document["currency"],
                    effective_from=date.fromisoformat(group["effective_from"]),
                    confidence=group["confidence"],
                    source_url=group["source_url"],
                    note=group.get("note", ""),
                )


def _store(
    rates: Iterable[PriceRate],
    *,
    source: str,
    fetched_at: datetime,
    note: str = "",
    doubts: Iterable[str] = (),
) -> PriceVersion:
    rates = list(rates)
    draft = PriceVersion.objects.create(
        source=source,
        fetched_at=fetched_at,
        sha256=_digest(rates),
        note=note[:200],
        doubts=list(doubts),
    )
    for rate in rates:
        rate.version = draft
    PriceRate.objects.bulk_create(rates)
    return draft


def _digest(rates: Iterable[PriceRate]) -> str:
    rows = sorted(
        [f"{name}={_canonical(getattr(rate, name))}" for name in _COPIED] for rate in rates
    )
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _canonical(value: Any) -> str:
    """Text that a database changes nothing of: it gives 2.5000000000 back for 2.5."""
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


# --- Drafts ------------------------------------------------------------------------------------


def clone_to_draft(*, by: object, note: str = "", at: datetime | None = None) -> PriceVersion:
    """A draft with the rates in force, to be edited and activated.

    Raises:
        PriceVersion.DoesNotExist: no list is in force.
    """
    with transaction.atomic():
        active = PriceVersion.objects.get(status=PriceStatus.ACTIVE)
        return _store(
            map(_copy, active.rates.all()),
            source=f"{active.label}, edited by {by}"[:200],
            fetched_at=at or now(),
            note=note,
        )


def _copy(rate: PriceRate) -> PriceRate:
    return PriceRate(**{name: getattr(rate, name) for name in _COPIED})


@dataclass(frozen=True, kw_only=True)
class Change:
    """A rate that differs; `before` is None for a new one, `after` for one that is gone."""

    before: PriceRate | None
    after: PriceRate | None

    def __str__(self) -> str:
        return f"{self.after or self.before}: {_price(self.before)} -> {_price(self.after)}"

    @property
    def is_large(self) -> bool:
        """Whether the price moves by more than a fifth."""
        if self.before is None or self.after is None:
            return False
        before, after = _unit_price(self.before), _unit_price(self.after)
        return abs(after - before) > LARGE_CHANGE * before


def _price(rate: PriceRate | None) -> str:
    return f"{_canonical(rate.amount)} USD per {rate.unit_size}" if rate else "none"


def _unit_price(rate: PriceRate) -> Fraction:
    return Fraction(rate.amount) / rate.unit_size


@dataclass(frozen=True, kw_only=True)
class Diff:
    """What activating a draft would change. `reasons` want a person, one sentence each."""

    changes: tuple[Change, ...]
    reasons: tuple[str, ...]


def diff(draft: PriceVersion) -> Diff:
    """Compare a draft with the list in force."""
    active = PriceVersion.objects.filter(status=PriceStatus.ACTIVE).first()
    before = list(active.rates.all()) if active else []
    return _diff(before, list(draft.rates.all()), doubts=draft.doubts)


def _diff(before: list[PriceRate], after: list[PriceRate], *, doubts: Iterable[str]) -> Diff:
    changes = _changes(before, after)
    units = defaultdict(set)
    for rate in before:
        units[rate.meter].add(rate.unit_size)
    large = [f"{change}, by more than a fifth" for change in changes if change.is_large]
    unknown = [
        f"{rate}: {rate.meter} was never priced per {rate.unit_size}"
        for rate in after
        if units[rate.meter] and rate.unit_size not in units[rate.meter]
    ]
    return Diff(changes=tuple(changes), reasons=(*doubts, *large, *unknown))


def _changes(before: list[PriceRate], after: list[PriceRate]) -> list[Change]:
    gone = {_dated_name(rate): rate for rate in before}
    last = {_name(rate): rate for rate in sorted(before, key=lambda rate: rate.effective_from)}
    changes = []
    for rate in after:
        same = gone.pop(_dated_name(rate), None)
        if same is None:
            changes.append(Change(before=_replaced(rate, last), after=rate))
        elif any(getattr(same, name) != getattr(rate, name) for name in _COPIED):
            changes.append(Change(before=same, after=rate))
    replaced = {id(change.before) for change in changes}
    changes += [
        Change(before=rate, after=None) for rate in gone.values() if id(rate) not in replaced
    ]
    return changes


def _name(rate: PriceRate, *, region: str = "") -> tuple[Any, ...]:
    named = {name: getattr(rate, name) for name in PriceRate.key}
    return tuple((named | {"region": region or rate.region}).values())


def _dated_name(rate: PriceRate) -> tuple[Any, ...]:
    return (*_name(rate), rate.effective_from)


def _replaced(rate: PriceRate, last: Mapping[tuple[Any, ...], PriceRate]) -> PriceRate | None:
    """What was paid where `rate` is new: the last price of its name, else that of all regions."""
    return last.get(_name(rate)) or last.get(_name(rate, region=pricing.EVERYWHERE))


# --- Into force --------------------------------------------------------------------------------


def activate(
    draft: PriceVersion, *, by: object, confirmed: bool = False, at: datetime | None = None
) -> Diff:
    """Bill by this draft from now on and retire the list before it; what changed is returned.

    Raises:
        NotADraft: it is in force or retired already.
        OverlappingRates: two of its rates hold at once.
        NeedsConfirmation: a price moves by more than a fifth, or a unit is not known, and nobody
            has confirmed it.
    """
    with transaction.atomic():
        # The list in force first: whoever else activates waits here.
        active = PriceVersion.objects.select_for_update().filter(status=PriceStatus.ACTIVE).first()
        draft = PriceVersion.objects.select_for_update().get(pk=draft.pk)
        if not draft.is_draft:
            raise NotADraft(str(draft))
        rates = list(draft.rates.all())
        if overlapping := _overlapping(rates):
            raise OverlappingRates(overlapping)
        difference = _diff(list(active.rates.all()) if active else [], rates, doubts=draft.doubts)
        if difference.reasons and not confirmed:
            raise NeedsConfirmation(list(difference.reasons))
        if active:
            active.status = PriceStatus.RETIRED
            active.save(update_fields=["status"])
        _enforce(draft, by=by, at=at)
        audit.record(
            "price.activate",
            actor=by,
            target=f"price:{draft.label}",
            detail={
                "retired": active.label if active else "",
                "changes": [str(change) for change in difference.changes[:100]],
                "count": len(difference.changes),
                "confirmed": list(difference.reasons[:100]),
            },
        )
    return difference


def _enforce(draft: PriceVersion, *, by: object, at: datetime | None = None) -> None:
    draft.status = PriceStatus.ACTIVE
    draft.approved_by = str(by)[:120]
    draft.activated_at = at or now()
    draft.save(update_fields=["status", "approved_by", "activated_at"])


def _overlapping(rates: Iterable[PriceRate]) -> str:
    """The name of a rate that holds twice on some day; empty when none does.

    Asked of every list before it bills, because rows can be written past `clean`.
    """
    ends: dict[tuple[Any, ...], date] = {}
    for rate in sorted(rates, key=lambda rate: rate.effective_from):
        name = _name(rate)
        if ends.get(name, date.min) > rate.effective_from:
            return str(rate)
        ends[name] = rate.effective_to or date.max
    return ""


# --- From AWS ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Refresh:
    """What a look at the Price List API came to. No draft where it tells nothing new."""

    draft: PriceVersion | None
    diff: Diff
    unread: tuple[offers.Unread, ...]


def refresh(products: Iterable[Mapping[str, Any]], *, at: datetime | None = None) -> Refresh:
    """Write what the products (parsed `PriceList` entries of GetProducts) change into a draft.

    A product is matched with the catalogue by the model's name. What it does not price stays as it
    is in force; what it prices in a way we cannot read keeps its old price and is a doubt.
    """
    found, unread = offers.read(products)
    with transaction.atomic():
        active = PriceVersion.objects.filter(status=PriceStatus.ACTIVE).first()
        before = list(active.rates.all()) if active else []
        rates: _Rates = defaultdict(list)
        for rate in before:
            rates[_name(rate)].append(_copy(rate))
        models = {model.name.casefold(): model for model in CatalogueModel.objects.routable()}
        floors = _floors(before)
        for offer in found:
            model = models.get(offer.name.casefold())
            if reason := _overlay(rates, offer, model, floors):
                product = f"{offer.name} {offer.meter} {offer.region}"
                unread.append(offers.Unread(product=product, reason=reason, is_doubt=False))
        after = [rate for named in rates.values() for rate in named]
        doubts = [str(one) for one in unread if one.is_doubt]
        difference = _diff(before, after, doubts=doubts)
        draft = _draft_of(after, doubts, at or now()) if difference.changes else None
    return Refresh(draft=draft, diff=difference, unread=tuple(unread))


def _draft_of(rates: list[PriceRate], doubts: list[str], at: datetime) -> PriceVersion:
    """The draft of these rates: a beat that finds the same again does not pile them up."""
    waiting = PriceVersion.objects.filter(sha256=_digest(rates), status=PriceStatus.DRAFT)
    return waiting.first() or _store(
        rates, source="AWS Price List API", fetched_at=at, doubts=doubts
    )


def _floors(rates: Iterable[PriceRate]) -> dict[str, set[int]]:
    """From how many input tokens each SKU has prices for long inputs."""
    floors: dict[str, set[int]] = defaultdict(set)
    for rate in rates:
        if rate.min_input_tokens:
            floors[rate.sku].add(rate.min_input_tokens)
    return floors


def _overlay(
    rates: _Rates,
    offer: offers.Offer,
    model: CatalogueModel | None,
    floors: Mapping[str, set[int]],
) -> str:
    """Put an offer over the rates; why not, when it cannot be done."""
    if model is None:
        return "no model of the catalogue has this name"
    known = floors.get(model.base_id, set())
    if offer.is_long and len(known) != 1:
        return "from how many tokens its price for long inputs holds is not known"
    # One price covers both: the list does not tell a request of a region from one of its geography.
    scopes = (Scope.GLOBAL,) if offer.is_global else (Scope.GEO, Scope.IN_REGION)
    for scope in scopes:
        _replace(
            rates,
            PriceRate(
                service=model.service,
                sku=model.base_id,
                scope=scope,
                region=offer.region,
                meter=offer.meter,
                tier=offer.tier,
                min_input_tokens=min(known) if offer.is_long else 0,
                unit_size=offers.MILLION,
                amount=offer.usd,
                currency="USD",
                effective_from=offer.effective_from,
                confidence=RateConfidence.VERIFIED,
                source_url=offer.source_url,
            ),
        )
    return ""


def _replace(rates: _Rates, new: PriceRate) -> None:
    """Let `new` hold from its first day on; what it replaces ends there, or goes."""
    earlier = [rate for rate in rates[_name(new)] if rate.effective_from < new.effective_from]
    for rate in earlier:
        if rate.effective_to is None or rate.effective_to > new.effective_from:
            rate.effective_to = new.effective_from
    rates[_name(new)] = [*earlier, new]
