"""Reports: pure functions of what the ledger says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

from farm.ledger import NANO, split
from schedules.model import Budget

UNITS = 10_000  # parts of the currency in a report
KINDS = ("boot", "busy", "idle", "drain")
By = Literal["job", "owner", "project", "pool"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A sum of ledger rows."""

    kind: str
    key: str
    micros: int
    cost_nano: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A pool as it would have stood the whole time."""

    executors: int
    price_nano: int


def report(
    entries: Iterable[Entry],
    pools: Iterable[Standing],
    currency: str,
    by: By,
    span: tuple[datetime, datetime] | None,
    budgets: Iterable[Budget] = (),
) -> dict[str, object]:
    """{currency, by, rows: [{key, boot_s, busy_s, idle_s, drain_s, cost}], total, always_on, since, until, budgets}.

    Costs are decimal strings with four places, so that a minute of a small machine shows; the rows add up to the
    total exactly (largest remainder).
    """
    keys: dict[str, dict[str, int]] = {}
    for entry in entries:
        row = keys.setdefault(entry.key, dict.fromkeys((*KINDS, "cost"), 0))
        row[entry.kind] += entry.micros
        row["cost"] += entry.cost_nano
    total = sum(row["cost"] for row in keys.values())
    whole = _units(total)
    shares = split(whole, [row["cost"] for row in keys.values()]) if total else [0] * len(keys)
    return {
        "currency": currency,
        "by": by,
        "rows": [_row(key, row, share) for (key, row), share in zip(keys.items(), shares, strict=True)],
        "total": money(whole),
        "always_on": money(_units(always_on(pools, span))),
        "since": span[0].isoformat() if span else None,
        "until": span[1].isoformat() if span else None,
        "budgets": [_budget(budget) for budget in budgets],
    }


def _budget(budget: Budget) -> dict[str, object]:
    """{name, owner, lane, amount, spent, bound, until}: of the period that goes on now."""
    money = {name: f"{getattr(budget, name):.4f}" for name in ("amount", "spent", "bound")}
    until = budget.until.isoformat() if budget.until else None
    return {"name": budget.name, "owner": budget.owner, "lane": budget.lane, **money, "until": until}


def always_on(pools: Iterable[Standing], span: tuple[datetime, datetime] | None) -> int:
    """Nano-units: every pool at its ceiling for the whole span."""
    if span is None:
        return 0
    seconds = Decimal(str((span[1] - span[0]).total_seconds()))
    per_hour = sum(p.executors * p.price_nano for p in pools)
    return int(seconds * per_hour / 3600)


def _row(key: str, row: Mapping[str, int], share: int) -> dict[str, object]:
    seconds = {f"{kind}_s": round(row[kind] / 1e6, 3) for kind in KINDS}
    return {"key": key, **seconds, "cost": money(share)}


def _units(nano: int) -> int:
    return int((Decimal(nano) * UNITS / NANO).quantize(Decimal(1), ROUND_HALF_EVEN))


def money(units: int) -> str:
    """Ten-thousandths of the currency as a decimal string."""
    return f"{Decimal(units) / UNITS:.4f}"
