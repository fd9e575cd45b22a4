"""One farm: its home, settings, queue and books."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from executors.contract import Provider, Surroundings
from executors.errors import Refused
from farm import tables as t
from farm.clock import Clock, SystemClock
from farm.config import FarmConfig, load, refused_pool
from farm.db import Database, migrate
from farm.feed import Feed
from farm.home import Home
from farm.reconcile import Fleet
from farm.sites import Sites
from farm.store import Store, open_store
from farm.tokens import Tokens

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
    sites: Sites | None = None
    wheel: Fleet | None = None
    wake: Any = lambda: None
    stop: Any = lambda **_options: None
    published: Callable[[float], bool] = lambda _seconds: True

    def close(self) -> None:
        self.feed.close()
        self.db.close()


def open_farm(home: Home, clock: Clock | None = None) -> Farm:
    """The queue and its books, with nothing running. Raises BadHome, BadConfig, BadDatabase."""
    home.make()
    config = load(home.config_file)
    db = Database.file(home.database)
    migrate(db, str(home.database))
    store = open_store(home.store)
    store.sweep()
    clock = clock or SystemClock()
    return Farm(home, config, clock, db, home.identity(), Feed(), store, Tokens(db, clock))


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
    for name, pool in farm.config.pools.items():
        folder = farm.home.pools / name
        folder.mkdir(exist_ok=True, mode=0o700)
        around = Surroundings(
            farm=farm.id,
            pool=name,
            home=str(folder),
            run=str(farm.home.run),
            store=str(farm.home.store),
            engine=farm.config.site.engine,
            lease=farm.config.site.lease,
        )
        options = {"ceiling": pool.ceiling_slots, "slots": pool.slots, **pool.options}
        try:
            made[name] = metered(provider(pool.provider, options, around), name)
        except Refused as error:
            raise refused_pool(farm.home.config_file, name, error) from error
    return made
