"""Work that waits since others, who had less than their share, have their turn first."""

from sqlalchemy import bindparam, select

from farm import tables as t
from farm.queue.shares import Fact, Shares
from farm.queue.table import SYSTEM, shares_of
from farm.queue.waiting import Waiting
from farm.tables import AnyRow
from farm.why.answer import Why
from farm.why.cause import Cause
from farm.why.look import Look

_RULE = "lanes share the slots by weight, and owners share a lane: who was given least goes first"
_LANES = select(t.LaneFact.name, t.LaneFact.virtual_s, t.LaneFact.backlogged)
_OWNERS = select(t.OwnerFact.owner, t.OwnerFact.virtual_s, t.OwnerFact.backlogged).where(
    t.OwnerFact.lane == bindparam("l")
)


def others_first(look: Look, about: str, state: str, step: AnyRow, numbers: dict[str, object]) -> Why | None:
    """None where its lane and its owner are next, and only the due dates of their own work count."""
    largest = max((pool.max_slots for pool in look.seen.pools), default=1)
    pairs = Waiting(look.tx, look.now, max(largest, step.slots)).pairs() | {(step.lane, step.owner)}
    lanes = look.config.all_lanes()
    facts = {row.name: Fact(row.virtual_s, row.backlogged) for row in look.tx.execute(_LANES)}
    shares = shares_of(facts, lambda lane: lanes[lane].weight if lane in lanes else 1.0)
    if first := _before(shares, {lane for lane, _ in pairs}, step.lane):
        mine, theirs = (lanes[name].weight if name in lanes else 1.0 for name in (step.lane, first))
        words = f"lane {first} (weight {theirs:g}) had less of its share than lane {step.lane} (weight {mine:g})"
        return _why(about, state, words, numbers | {"lane": step.lane, "weight": mine, "next_lane": first})
    own = {row.owner: Fact(row.virtual_s, row.backlogged) for row in look.tx.execute(_OWNERS, {"l": step.lane})}
    weights = look.config.owner_weights()
    shares = shares_of(own, lambda owner: weights.get(owner, 1.0))
    first = _before(shares, {owner for lane, owner in pairs if lane == step.lane}, step.owner)
    if not first:
        return None
    words = f"{first} had less of lane {step.lane} than {step.owner}"
    return _why(about, state, words, numbers | {"lane": step.lane, "owner": step.owner, "next_owner": first})


def _before(shares: Shares, names: set[str], mine: str) -> str:
    """Who is next, if that is somebody else who was given less."""
    shares.join(names - {SYSTEM})
    first = min(shares.virtual, key=lambda name: (shares.virtual[name], name != mine, name))
    return first if shares.virtual[first] < shares.virtual[mine] else ""


def _why(about: str, state: str, words: str, numbers: dict[str, object]) -> Why:
    sentence = f"{about[0].upper()}{about[1:]} waits for a free slot, and others come first: {words}."
    return Why(about, state, Cause.SHARE, _RULE, sentence, "a slot becomes free, and its turn comes", numbers)
