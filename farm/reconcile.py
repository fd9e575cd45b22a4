"""The wheel: look, decide, write, act. Safe to repeat; safe to crash anywhere in it."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection, bindparam, select, update

from executors.contract import Machine, MachineState, Order, Placed, Provider
from executors.errors import Lost, ProviderError, SoldOut, Throttled
from executors.site.protocol import Message
from farm import fleet, ledger, offers, orders
from farm import tables as t
from farm.breaker import BREAKER_MAX, open_breaker, told
from farm.clock import EPOCH, Clock
from farm.config import FarmConfig
from farm.db import Database, after_commit
from farm.decisions import Archive
from farm.dispatch import rest
from farm.durations import format_duration
from farm.feed import Feed
from farm.home import SITE
from farm.listings import Listing, Listings
from farm.model import ExecutorState, OrderState
from farm.newcomers import Newcomers
from farm.observe import observe, prices_nano
from farm.queue import endings
from farm.queue.progress import Changed
from farm.queue.start_after import release_due
from farm.sites import Sites
from farm.spending import Spending
from farm.tables import AnyRow
from schedules.gaps import Gaps
from schedules.model import Decision, Drain, Launch, Retire, ScalingPolicy, Snapshot
from schedules.reserve import allowed
from schedules.windows import hours

log = logging.getLogger(__name__)

HEAR_OUT = timedelta(seconds=15)  # after a start, while no gateway has settled
BOOT_LIMIT = timedelta(seconds=120)  # a machine that has not joined by then, and by ten times its p95, is replaced
BOOTS = 5  # … and by so many times what its pool says
STOP_LIMIT = timedelta(seconds=4)  # an executor told to go that has not gone by then is ended by its provider
LEFT_LIMIT = timedelta(seconds=60)  # by then an idle one beside us has heard that it is to go
STOP_AGAIN = timedelta(seconds=15)  # … or, where there is no provider any more, told again
BOOK_EVERY = timedelta(seconds=15)

_NOT_BROKEN = update(t.PoolFact).where(t.PoolFact.breaker_until > bindparam("limit")).values(breaker_until=None)
_TOLD_AGAIN = update(t.Executor).where(t.Executor.id == bindparam("k")).values(stopping=bindparam("at"))
_ALL_IDS = select(t.Executor.id)


@dataclass(slots=True)
class Fleet:
    """What the wheel turns."""

    db: Database
    clock: Clock
    config: FarmConfig
    providers: Mapping[str, Provider]
    policy: ScalingPolicy
    sites: Sites
    feed: Feed
    outbound: Collection[str] = ()  # pools whose executors are elsewhere
    last: Decision | None = None
    closing: bool = False  # the farm drains: nothing more is ordered
    turned: datetime | None = None  # when the wheel turned last
    began: datetime = EPOCH  # when the service did
    listings: Listings = field(default_factory=Listings)
    gaps: Gaps = field(default_factory=Gaps)  # learned since the service began
    archive: Archive = field(default_factory=Archive)  # of decisions
    spending: Spending = field(default_factory=Spending)
    newcomers: Newcomers = field(default_factory=Newcomers)

    def list_machines(self, *pools: str) -> None:
        """Ask providers, all when none is named, for their books: the truth, taken outside of the wheel."""
        for name in pools or self.providers:
            self.listings.take(name, self.providers[name], self.clock)

    def site(self, machine: Machine) -> str:
        """Where its work reaches it: an executor elsewhere is a site of its own."""
        if machine.pool not in self.outbound:
            return SITE
        self.sites.expect([machine.id])
        return machine.id

    def last_listing(self) -> Mapping[str, Listing]:
        return self.listings.last()


def look_ahead(wheel: Fleet) -> None:
    """Before the wheel turns first, which waits for the providers' books: what some lanes leave to others, and whose
    money is spent. Executors ask for work meanwhile."""
    if not (wheel.config.budgets or wheel.config.reserve.reserves):
        return
    now = wheel.clock.now()
    with wheel.db.read() as tx:
        seen = observe(tx, wheel.config, now, budgets=wheel.spending.told(tx, wheel.config, now))
    wheel.sites.allow(allowed(seen))


def reconcile(wheel: Fleet) -> Decision:
    """Turn the wheel once."""
    now = wheel.clock.now()
    listing = wheel.last_listing()
    changed = Changed()
    with wheel.db.write() as tx:
        _heed_the_clock(tx, wheel, now)
        _believe(tx, wheel, listing, changed, now)
        rest(tx, now)
        changed.jobs.update(release_due(tx, now))
        seen = observe(tx, wheel.config, now, budgets=wheel.spending.told(tx, wheel.config, now))
        wheel.newcomers.tell(tx, wheel.gaps.arrivals, seen)
        seen = wheel.gaps.told(seen)
        ledger.record(tx, now, _prices(wheel, seen), BOOK_EVERY)
        decision = Decision(()) if wheel.closing else wheel.policy(seen)
        orders.write(tx, (action for action in decision.actions if isinstance(action, Launch)), now)
        _drain_strangers(tx, wheel, changed, now)
        _write_goings(tx, wheel, decision, now)
        _remember(tx, wheel, seen, decision)
        wheel.sites.allow(allowed(seen))
        wheel.sites.dispatch(tx, now)
    wheel.feed.publish(changed)
    wheel.last = decision
    retire(wheel)  # first: what a lost executor still holds may be what an order waits for
    settle(wheel)
    return decision


def _heed_the_clock(tx: Connection, wheel: Fleet, now: datetime) -> None:
    """A clock that was set back leaves instants that are still to come, and nobody should wait for them twice."""
    if wheel.turned is None or now < wheel.turned:
        fleet.not_after(tx, now)
        orders.not_after(tx, now)
        tx.execute(_NOT_BROKEN, {"limit": now + BREAKER_MAX})
    wheel.turned = now


def _prices(wheel: Fleet, seen: Snapshot) -> dict[str, int]:
    open_prices = {p.name: hours(p, seen.schedule, seen.now).price_per_hour for p in seen.pools}
    return prices_nano(wheel.config, open_prices)


def current_prices(wheel: Fleet, tx: Connection, now: datetime) -> dict[str, int]:
    """Pool → nano-units an hour that hold now."""
    return _prices(wheel, observe(tx, wheel.config, now))


# ── what the providers' books say ──


def _believe(tx: Connection, wheel: Fleet, listing: Mapping[str, Listing], changed: Changed, now: datetime) -> None:
    machines = {m.id: m for listed in listing.values() for m in listed.machines}
    _adopt(tx, wheel, machines.values())
    for known in machines.values():
        if known.error and known.state == MachineState.ENDED:
            fleet.said(tx, known.id, known.error)
    cut_off = wheel.sites.cut_off()
    living = fleet.alive(tx)
    wheel.sites.forget({row.id for row in living})
    for row in living:
        machine = machines.get(row.id)
        if machine is not None and machine.state == MachineState.ENDED:
            if row.state == ExecutorState.BOOTING or _heard_out(wheel, row.site, now):
                _ended(tx, row, machine, changed, now)
        elif row.state == ExecutorState.BOOTING and _overdue(tx, wheel, row, now):
            _give_up(tx, row, changed, now)
        elif row.state != ExecutorState.BOOTING and row.site in cut_off:
            _cut_off(tx, wheel, row, cut_off[row.site], changed, now)
        elif wheel.listings.forgot(row, None if machine else listing.get(row.pool), now):
            _forgotten(tx, wheel, row, changed, now)
    _heed_endings(tx, wheel, machines, listing, now)


def _heed_endings(
    tx: Connection, wheel: Fleet, machines: Mapping[str, Machine], listing: Mapping[str, Listing], now: datetime
) -> None:
    """What lost executors held is free when their machines have ended; of what lives on its site is asked."""

    def gone(executor: str, pool: str, since: datetime) -> bool:
        known, listed = machines.get(executor), listing.get(pool)
        if known is not None:
            return known.state == MachineState.ENDED
        return listed is not None and listed.at >= since

    if sites := endings.look(tx, gone, now):
        after_commit(tx, lambda: wheel.sites.settle_anew(*sites))


def _heard_out(wheel: Fleet, site: str, now: datetime) -> bool:
    """Whether the last results of an executor that ended while we were away had their chance to reach us."""
    return wheel.sites.caught_up(site) or abs(now - wheel.began) >= HEAR_OUT


def _forgotten(tx: Connection, wheel: Fleet, row: AnyRow, changed: Changed, now: datetime) -> None:
    settled = fleet.lost(tx, row.id, "its provider does not know it any more", now)
    if settled:
        changed.join(settled.changed)
    after_commit(tx, stop(wheel, row.id))  # should it live after all, it goes


def _adopt(tx: Connection, wheel: Fleet, machines: Iterable[Machine]) -> None:
    """Machines that one of our orders bought without our hearing of it: they cost money, so they are ours."""
    known = set(tx.execute(_ALL_IDS).scalars())
    for machine in machines:
        if machine.state != MachineState.ENDED and machine.id not in known and machine.pool in wheel.config.pools:
            order = orders.find(tx, machine.order)
            if order is not None and order.state != OrderState.OPEN:
                _place_rows(tx, wheel, [machine], order)
                after_commit(tx, _attach(wheel, machine))


def _place_rows(tx: Connection, wheel: Fleet, machines: Sequence[Machine], order: AnyRow) -> list[str]:
    have = partial(offers.texts, tx, wheel.config, order.pool)
    return fleet.place(tx, machines, order, wheel.site, _price(wheel, order.pool), wheel.clock.now(), have)


def _attach(wheel: Fleet, machine: Machine) -> Callable[[], None]:
    return lambda: wheel.sites.tell(Message(0, "attach", machine.id, slots=machine.slots))


def _price(wheel: Fleet, pool: str) -> int:
    return int(wheel.config.pools[pool].price_per_hour * ledger.NANO)


def _ended(tx: Connection, row: AnyRow, machine: Machine, changed: Changed, now: datetime) -> None:
    at = max(min(machine.ended_at or now, now), row.launched)
    if row.stopping is not None:
        changed.join(fleet.ended(tx, row.id, row.why, at).changed)
        return
    why = machine.error or "its machine ended unasked"
    settled = fleet.lost(tx, row.id, why, at)
    if settled:
        changed.join(settled.changed)
        if row.state == ExecutorState.BOOTING:
            open_breaker(tx, row.pool, f"executor {row.id} ended before it joined: {why}", now)


def _cut_off(tx: Connection, wheel: Fleet, row: AnyRow, seconds: float, changed: Changed, now: datetime) -> None:
    """By now it has ended itself: its lease was carried by what it has not heard."""
    silence = format_duration(round(seconds))
    settled = fleet.lost(tx, row.id, f"not heard of for {silence}, which is longer than its lease", now)
    if settled:
        changed.join(settled.changed)
    after_commit(tx, stop(wheel, row.id))  # should it come back all the same, it goes


def _overdue(tx: Connection, wheel: Fleet, row: AnyRow, now: datetime) -> bool:
    fact, pool = fleet.pool_fact(tx, row.pool), wheel.config.pools.get(row.pool)
    said = BOOTS * pool.boot if pool else timedelta()
    return bool(now - row.launched > max(BOOT_LIMIT, said, timedelta(seconds=10 * fact.boot_p95_s)))


def _give_up(tx: Connection, row: AnyRow, changed: Changed, now: datetime) -> None:
    settled = fleet.lost(tx, row.id, "it never joined", now)
    if settled:
        changed.join(settled.changed)
        open_breaker(tx, row.pool, f"executor {row.id} never joined", now)


# ── intent before effect ──


def _write_goings(tx: Connection, wheel: Fleet, decision: Decision, now: datetime) -> None:
    """Drained ones get no more work; those that are empty are told to go."""
    for action in decision.actions:
        if isinstance(action, Drain | Retire) and not fleet.drain(tx, action.executor, action.why, now):
            orders.less(tx, action.executor, action.why)
    empty = [r for r in fleet.alive(tx) if r.state == ExecutorState.DRAINING and r.idle_since]
    booting = [r for r in fleet.alive(tx) if r.state == ExecutorState.DRAINING and r.ready is None]
    for row in (*empty, *booting):
        if fleet.stopping(tx, row.id, now):
            after_commit(tx, stop(wheel, row.id))


def _drain_strangers(tx: Connection, wheel: Fleet, changed: Changed, now: datetime) -> None:
    """The policy knows no pool that was taken out of farm.toml; its machines cost all the same."""
    for row in fleet.alive(tx):
        if row.pool not in wheel.config.pools:
            fleet.drain(tx, row.id, f"pool {row.pool} is no longer in farm.toml", now)
            _see_off(tx, wheel, row, changed, now)


def _see_off(tx: Connection, wheel: Fleet, row: AnyRow, changed: Changed, now: datetime) -> None:
    """No provider ends it, nor lists its end."""
    if row.stopping and now - row.stopping > STOP_AGAIN:  # its gateway may have settled after it was told
        tx.execute(_TOLD_AGAIN, {"k": row.id, "at": now})
        after_commit(tx, stop(wheel, row.id))
    if row.site == SITE and row.draining and row.idle_since and now - max(row.draining, row.idle_since) > LEFT_LIMIT:
        settled = fleet.lost(tx, row.id, row.why, now)
        changed.join(settled.changed if settled else Changed())


def stop(wheel: Fleet, executor: str) -> Callable[[], None]:
    """Tells an executor over its desk to go."""
    return lambda: wheel.sites.tell(Message(0, "stop", executor, grace_s=2))


def _remember(tx: Connection, wheel: Fleet, seen: Snapshot, decision: Decision) -> None:
    """Keep what is worth explaining later: decisions that act, and changes of what is left unmet or undone."""
    before = (wheel.last.unmet, wheel.last.notes) if wheel.last else ((), ())
    if decision.actions or (decision.unmet, decision.notes) != before:
        wheel.archive.keep(tx, seen, decision)


# ── effect ──


def settle(wheel: Fleet) -> None:
    """Place every open order, old or new. No provider is called inside a transaction."""
    with wheel.db.read() as tx:
        found, later = orders.due(tx, wheel.clock.now()), offers.held_back(tx, wheel.config)
    for row, order in found:
        if row.pool not in later:
            _place(wheel, row, order)


def _place(wheel: Fleet, row: AnyRow, order: Order) -> None:
    provider = wheel.providers.get(row.pool)
    if provider is None:
        return _refused(wheel, row, f"there is no pool {row.pool} any more", breaks=False)
    wheel.db.check_term()
    try:
        placed = provider.launch(order)
    except (Throttled, Lost, OSError) as error:  # a disk that is full under its books is not full for ever
        return _again(wheel, row, str(error))
    except ProviderError as error:
        return _refused(wheel, row, told(error))
    return _placed(wheel, row, placed)


def _placed(wheel: Fleet, row: AnyRow, placed: Placed) -> None:
    now = wheel.clock.now()
    with wheel.db.write() as tx:
        fresh = _place_rows(tx, wheel, placed.machines, row)
        error = "; ".join(told(r.error) for r in placed.refused)
        orders.move(tx, row.token, OrderState.PLACED, error)
        if any(isinstance(r.error, SoldOut) for r in placed.refused):
            open_breaker(tx, row.pool, error, now)
        messages = [Message(0, "attach", m.id, slots=m.slots) for m in placed.machines if m.id in fresh]
        after_commit(tx, lambda: wheel.sites.tell(*messages))


def _again(wheel: Fleet, row: AnyRow, error: str) -> None:
    with wheel.db.write() as tx:
        orders.later(tx, row.token, wheel.clock.now(), error)


def _refused(wheel: Fleet, row: AnyRow, error: str, breaks: bool = True) -> None:
    log.warning("order %s in pool %s: %s", row.token, row.pool, error)
    with wheel.db.write() as tx:
        orders.move(tx, row.token, OrderState.REFUSED, error)
        if breaks:
            open_breaker(tx, row.pool, error, wheel.clock.now())


def retire(wheel: Fleet) -> None:
    """End machines that were told to go and did not, and those that nobody works with any more."""
    now = wheel.clock.now()
    with wheel.db.read() as tx:
        late = [r for r in fleet.alive(tx) if r.stopping and now - r.stopping > STOP_LIMIT]
        alive = {r.id for r in fleet.alive(tx)}
        known = set(tx.execute(_ALL_IDS).scalars())
    for pool, listed in wheel.last_listing().items():
        strays = [m.id for m in listed.machines if m.state != MachineState.ENDED and m.id in known - alive]
        ids = strays + [r.id for r in late if r.pool == pool]
        if ids:
            _terminate(wheel, pool, ids)


def _terminate(wheel: Fleet, pool: str, ids: Sequence[str]) -> None:
    wheel.db.check_term()
    try:
        wheel.providers[pool].terminate(ids)
    except (ProviderError, OSError) as error:
        log.warning("pool %s can't end %s: %s", pool, ", ".join(ids), error)
