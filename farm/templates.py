"""What pools start their executors from, where that takes a while to make."""

from collections.abc import Mapping

from executors.contract import Prepares
from executors.metered import Metered
from farm.context import Farm, providers
from farm.refusal import NotFound
from farm.wording import nearest


def preparing(farm: Farm, pool: str | None = None) -> Mapping[str, Prepares]:
    """The providers that have something to prepare, by pool; that of one `pool` only where it is named.

    Raises BadConfig, NotFound.
    """
    made = providers(farm)
    if pool is not None and pool not in made:
        raise NotFound(f"there is no pool {pool!r}", remedy=nearest(pool, list(made)))
    inner = {name: p.inner if isinstance(p, Metered) else p for name, p in made.items() if pool in (None, name)}
    found = {name: p for name, p in inner.items() if isinstance(p, Prepares)}
    if pool is not None and not found:
        raise NotFound(f"pool {pool!r} needs no template", remedy="its executors start without one")
    return found
