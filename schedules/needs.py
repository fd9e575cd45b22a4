"""What a task needs of an executor beside its slots, and what an executor offers: amounts, which tasks use up, and
labels, which they do not."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

Amounts = tuple[tuple[str, int], ...]
"""Name → how many, in the order of the names."""
Labels = tuple[tuple[str, str], ...]
"""Name → value, in the order of the names."""
MEMORY = "memory"
UNCOUNTED = frozenset({MEMORY})
"""Where an executor does not say how much it has of these, nobody is kept from it."""


@dataclass(frozen=True, slots=True)
class Needs:
    """`labels` are conditions: `arch=arm64`, `arch!=arm64`, `ssd` (it has one of that name), `!ssd`."""

    slots: int = 1
    amounts: Amounts = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """What an executor has beside its slots."""

    amounts: Amounts = ()
    labels: Labels = ()

    @property
    def rare(self) -> int:
        """Kinds of things that few executors have: what needs none of them goes to others first."""
        return sum(name not in UNCOUNTED for name, _ in self.amounts)


PLAIN = Offer()


def meets(condition: str, labels: Mapping[str, str]) -> bool:
    if condition.startswith("!"):
        return condition[1:] not in labels
    name, sign, value = condition.partition("=")
    if not sign:
        return name in labels
    return labels.get(name[:-1]) != value if name.endswith("!") else labels.get(name) == value


@lru_cache(maxsize=4096)
def suits(conditions: tuple[str, ...], labels: Labels) -> bool:
    found = dict(labels)
    return all(meets(condition, found) for condition in conditions)


def portions(needed: Amounts, there: Amounts) -> int | None:
    """How many times `there` holds what is needed; None: as often as one likes."""
    has = dict(there)
    each = [has.get(name, 0) // n for name, n in needed if n and not (name in UNCOUNTED and name not in has)]
    return min(each, default=None)


def times(needs: Needs, offer: Offer, slots: int, used: Mapping[str, int]) -> int:
    """How many such tasks fit beside what is used, into so many free slots."""
    if slots < needs.slots or not suits(needs.labels, offer.labels):
        return 0
    left = tuple((name, max(0, n - used.get(name, 0))) for name, n in offer.amounts)
    most, each = slots // needs.slots, portions(needs.amounts, left)
    return most if each is None else min(most, each)


def lacking(needs: Needs, offer: Offer) -> list[str]:
    """What an executor that offers this can never give, in words: "gpus: it has 1 of 2", "label arch=arm64"."""
    has, labels = dict(offer.amounts), dict(offer.labels)
    short = [
        f"{name}: it has {said(name, has.get(name, 0))} of {said(name, n)}"
        for name, n in needs.amounts
        if has.get(name, 0) < n and not (name in UNCOUNTED and name not in has)
    ]
    return [*short, *(f"label {one}" for one in needs.labels if not meets(one, labels))]


def said(name: str, n: int) -> str:
    """`3`; of memory `1.5 GiB`."""
    if name != MEMORY:
        return str(n)
    return f"{n / 2**30:.4g} GiB" if n >= 1 << 30 else f"{n / 2**20:.4g} MiB"


def waste(needs: Needs, offer: Offer) -> tuple[int, int]:
    """How much of what others may need stays unused beside such a task: the best executor for it has least."""
    wanted = dict(needs.amounts)
    others = sum(name not in wanted and name not in UNCOUNTED for name, _ in offer.amounts)
    return others, sum(n - wanted[name] for name, n in offer.amounts if name in wanted and name not in UNCOUNTED)


def more(a: Amounts, b: Amounts, factor: int = 1) -> Amounts:
    """a + factor · b; what is not left is not named."""
    if not b:
        return a
    found = dict(a)
    for name, n in b:
        found[name] = found.get(name, 0) + factor * n
    return tuple(sorted((name, n) for name, n in found.items() if n > 0))


def free_ones(total: Collection[int], held: Sequence[Collection[int]], n: int) -> list[int]:
    """The lowest `n` of those that nobody holds; fewer where there are not so many."""
    taken = {one for some in held for one in some}
    return sorted(one for one in total if one not in taken)[:n]
