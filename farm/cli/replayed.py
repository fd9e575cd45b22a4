"""What `farm simulate` is asked for: which day, on which machines, by whose rules."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.cli.reach import home_of
from farm.durations import BadDuration, parse_duration
from farm.refusal import Refusal, Unavailable
from farm.wording import nearest

if TYPE_CHECKING:
    from farm.simulate.history import Past
    from farm.simulate.pools import Offer
    from farm.simulate.trace import Job

SECOND = 1_000_000
LONGEST_BOOT_S = 86400.0  # and paid minimum


@dataclass(frozen=True, slots=True)
class Day:
    """`lived`: how it went in truth, where that is known."""

    jobs: "Sequence[Job]"
    offers: "Sequence[Offer]"
    lived: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Machines:
    """What was said of them; None: nothing."""

    boot: str | None
    min_billing: str | None
    ceiling: int | None
    slots: int | None
    price: float | None
    spread: float
    loss: float
    pools: Sequence[str]

    def offers(self, usual: "Sequence[Offer]") -> "list[Offer]":
        """The usual pools, as far as nothing else was said. Raises Refusal."""
        if self.pools:
            usual = [replace(usual[0], name=name, price=price) for name, price in map(_priced, self.pools)]
        made = [self._said_of(offer) for offer in usual]
        for offer in made:
            if offer.slots > offer.ceiling:
                what = f"a machine of {offer.slots} slots is above the ceiling of {offer.ceiling}"
                raise Refusal(what, "--ceiling", "raise it")
        if len({offer.name for offer in made}) < len(made):
            raise Refusal("two pools have the same name", "--pool", "name each differently")
        return made

    def _said_of(self, offer: "Offer") -> "Offer":
        said: dict[str, Any] = {
            "boot": None if self.boot is None else _length(self.boot, "--boot"),
            "min_bill": None if self.min_billing is None else _length(self.min_billing, "--min-billing"),
            "ceiling": self.ceiling,
            "slots": self.slots,
            "price": None if self.pools else self.price,
            "spread": self.spread or None,
            "loss": self.loss or None,
        }
        return replace(offer, **{key: value for key, value in said.items() if value is not None})


def day(trace: str | None, history: str | None, home: str | None, machines: Machines) -> Day:
    """Raises Refusal, Unavailable."""
    from farm.simulate.pools import Offer
    from farm.simulate.trace import read

    if (trace is None) == (history is None):
        what = "what is replayed is a trace, or the farm's own past"
        raise Refusal(what, "farm simulate", "name TRACE.csv, or --history 30d")
    if trace is not None:
        offers = machines.offers([Offer()])
        return Day(read(Path(trace)), offers)
    past, own = _past(history or "", home)
    return Day(past.jobs, machines.offers(own), past.lived)


def _past(history: str, home: str | None) -> "tuple[Past, Sequence[Offer]]":
    from farm.clock import SystemClock
    from farm.config import load
    from farm.database_url import find
    from farm.db import migrate
    from farm.simulate.history import offers, past

    span, place = parsed(history, "--history"), home_of(home, "simulate --history")
    config = load(place.config_file)
    database = find(place, config)
    if database.path is not None and not database.path.exists():
        raise Unavailable("there is no farm here", str(place.path), "look at --home and FARM_HOME, or name a trace")
    with closing(database.connect()) as db:
        migrate(db, database.where)
        with db.read() as tx:
            found, own = past(tx, config, span, SystemClock().now()), offers(tx, config)
    if not own:
        raise Refusal("no pool of this farm has room for a single executor", str(place.config_file), "raise a ceiling")
    return found, own


def parsed(text: str, where: str) -> timedelta:
    """A duration. Raises Refusal."""
    try:
        return parse_duration(text)
    except BadDuration as error:
        raise Refusal(str(error).partition(";")[0], where, "write 90s, 10m or 1h30m") from error


def micros(text: str, where: str) -> int:
    return parsed(text, where) // timedelta(microseconds=1)


def _length(text: str, where: str) -> int:
    found = micros(text, where)
    if found > LONGEST_BOOT_S * SECOND:
        raise Refusal(f"{text[:40]!r} is longer than a day", where, "write 90s, 10m or 1h30m")
    return found


def names(text: str, known: Collection[str], where: str, usual: Sequence[str] = ()) -> list[str]:
    """Those that are meant; `all` is the usual ones."""
    if text == "all":
        return [*(usual or known)]
    found = [name.strip() for name in text.split(",") if name.strip()]
    for name in found:
        if name not in known:
            raise Refusal(f"there is no {name[:40]!r}", where, nearest(name, known))
    return found


def _priced(text: str) -> tuple[str, float]:
    name, _, price = text.partition(":")
    try:
        found = float(price)
    except ValueError:
        found = -1.0
    if not name or not 0 <= found < 1e9:
        raise Refusal(f"{text[:40]!r} is no pool with its price", "--pool", "write cloud:0.50")
    return name, found


def with_sold_out(offers: "Sequence[Offer]", texts: Sequence[str]) -> "list[Offer]":
    made = {offer.name: offer for offer in offers}
    for text in texts:
        name, _, span = text.partition(":")
        if name not in made:
            raise Refusal(f"there is no pool {name[:40]!r}", "--sold-out", nearest(name, made))
        start, dash, end = span.partition("-")
        if not dash:
            raise Refusal(f"{text[:40]!r} is no span", "--sold-out", "write pool:1h-3h")
        gone = (micros(start, "--sold-out"), micros(end, "--sold-out"))
        if gone[1] <= gone[0]:
            raise Refusal(f"{text[:40]!r} ends before it begins", "--sold-out", "write pool:1h-3h")
        made[name] = replace(made[name], sold_out=(*made[name].sold_out, gone))
    return [*made.values()]


def lanes(texts: Sequence[str]) -> dict[str, str]:
    """Source or class → lane."""
    found = {}
    for text in texts:
        source, _, lane = text.rpartition("=")
        if not source or lane not in ("interactive", "default", "bulk"):
            raise Refusal(f"{text[:40]!r} names no lane", "--lane", "write human=interactive, or bot=bulk")
        found[source] = lane
    return found
