"""One farm: its home, settings, queue and books."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, insert, select, update

from executors.contract import Provider, Surroundings
from executors.errors import Refused
from executors.invitation import Invite
from farm import tables as t
from farm.clock import Clock, ServerClock, SystemClock
from farm.config import FarmConfig, PoolConfig, load, no_address, no_setup, refused_pool
from farm.database_url import find as find_database
from farm.db import Database, migrate
from farm.feed import Feed
from farm.home import Home
from farm.joining import inviter
from farm.leader_link import LeaderLink
from farm.lease import Lease
from farm.reconcile import Fleet
from farm.refusals import Refusals
from farm.sites import Sites
from farm.store import Store, open_store
from farm.tokens import Tokens
from farm.watch import Watch

if TYPE_CHECKING:
    from farm.listening import Listener

_META = select(t.Meta.value).where(t.Meta.key == bindparam("k"))
_ADD_META = insert(t.Meta)
_SET_META = update(t.Meta).where(t.Meta.key == bindparam("k")).values(value=bindparam("v"))


@dataclass(slots=True)
class Farm:
    """All that the API and the command line work with; `wheel` is None when nothing runs."""

    home: Home
    config: FarmConfig
    clock: Clock
    db: Database
    id: str
    feed: Feed
    store: Store
    tokens: Tokens
    refusals: Refusals
    watch: Watch | None = None  # of a service on PostgreSQL
    lease: Lease | None = None  # of a service
    leader: LeaderLink | None = None  # of who serves the API and does not lead
    listener: "Listener | None" = None
    sites: Sites | None = None
    wheel: Fleet | None = None
    wake: Any = lambda: None
    stop: Any = lambda **_options: None
    published: Callable[[float], bool] = lambda _seconds: True

    def close(self) -> None:
        if self.watch is not None:
            self.watch.stop()
        self.feed.close()
        self.db.close()


def open_farm(home: Home, clock: Clock | None = None) -> Farm:
    """The queue and its books, with nothing running. Raises BadHome, BadConfig, BadDatabase."""
    home.make()
    config = load(home.config_file)
    db = find_database(home, config).connect()
    try:
        migrate(db, db.where)
    except BaseException:
        db.close()
        raise
    store = open_store(home.store)
    store.sweep()
    clock = clock or (SystemClock() if db.sqlite else ServerClock(db.now))
    return Farm(home, config, clock, db, home.identity(), Feed(), store, Tokens(db, clock), Refusals(clock))


def _meta(tx: Connection, key: str, default: str) -> str:
    value = tx.execute(_META, {"k": key}).scalar_one_or_none()
    if value is None:
        tx.execute(_ADD_META, {"key": key, "value": default})
        return default
    return str(value)


def new_term(tx: Connection) -> int:
    """Each service start is a new term: what an older one wanted is refused by the agents."""
    term = int(_meta(tx, "term", "0")) + 1
    tx.execute(_SET_META, {"k": "term", "v": str(term)})
    return term


def providers(farm: Farm) -> dict[str, Provider]:
    """Every configured pool's provider, metered. Raises BadConfig for a provider or options that nobody knows."""
    from executors.metered import metered
    from executors.registry import provider

    made: dict[str, Provider] = {}
    outbound = outbound_pools(farm.config)
    for name, pool in farm.config.pools.items():
        folder = farm.home.pools / name
        folder.mkdir(exist_ok=True, mode=0o700)
        setup = _setup(farm, name)
        around = Surroundings(
            farm=farm.id,
            pool=name,
            home=str(folder),
            run=str(farm.home.run),
            store=str(farm.home.store),
            engine=farm.config.site.engine,
            lease=farm.config.site.outbound_lease if name in outbound else farm.config.site.lease,
            invite=_invite(farm, name, setup, needed=name in outbound),
            image=pool.image,
            setup=setup,
            network="outbound" if name in outbound else "local",
        )
        options = {"ceiling": pool.ceiling_slots, "slots": pool.slots, **pool.options}
        try:
            made[name] = metered(provider(pool.provider, options, around), name)
        except Refused as error:
            raise refused_pool(farm.home.config_file, name, error) from error
    return made


def outbound_pools(config: FarmConfig) -> frozenset[str]:
    """Pools whose executors are elsewhere, as they or their providers say."""
    from executors.registry import known, network

    names = known()

    def kind(pool: PoolConfig) -> str:
        return pool.network or (network(pool.provider) if pool.provider in names else "local")

    return frozenset(name for name, pool in config.pools.items() if kind(pool) == "outbound")


def _invite(farm: Farm, pool: str, setup: str, needed: bool) -> Invite | None:
    """None where the farm has no address for others. Raises BadConfig where that is needed."""
    if farm.listener is None:
        if needed and farm.config.listen.address is None:
            raise no_address(farm.home.config_file, pool)
        return None
    return inviter(farm, pool, farm.listener.url, farm.listener.ca, farm.config.site.outbound_lease, setup)


def _setup(farm: Farm, pool: str) -> str:
    """The script of a pool, or that of the file it names. Raises BadConfig."""
    said = farm.config.pools[pool].setup
    file = farm.home.path / os.path.expanduser(said)
    if not said or "\n" in said or (" " in said and not file.exists()):
        return said
    try:
        return file.read_text()
    except (OSError, ValueError) as error:
        raise no_setup(farm.home.config_file, pool, said, error) from error
