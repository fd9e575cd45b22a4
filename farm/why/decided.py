"""What was decided last about a pool, from the decisions that are kept."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from farm import decisions, read
from farm.why.answer import Why, at, many
from farm.why.look import Look

LOOKED_AT = 50  # decisions, the newest


def decided(look: Look, why: Why, pool: str) -> Why:
    """With the last decision that did something there; and what a policy of somebody's own could not be given."""
    kept = decisions.last(look.tx, LOOKED_AT)
    if not kept:
        return why
    notes = list(kept[0].decision.get("notes", ()))
    said = next(((each, found) for each in kept if (found := [*_said(each, pool)])), None)
    numbers = {**why.numbers, "notes": notes, "decided": None}
    sentence = "".join([why.sentence, *(f" {note[:1].upper()}{note[1:]}." for note in notes[:3])])
    if said is not None:
        each, words = said
        numbers["decided"] = {"id": each.id, "at": read.when(each.at), "what": words}
        more = f" and {many(len(words) - 1, 'other thing')}" if len(words) > 1 else ""
        sentence += f" Decided last, at {at(each.at)}: {words[0]}{more}."
    return replace(why, sentence=sentence, numbers=numbers)


def _said(kept: decisions.Kept, pool: str) -> Iterator[str]:
    """What of it concerns this pool."""
    mine = {e["id"] for e in (kept.seen or {}).get("executors", ()) if e["pool"] == pool}
    told: Any = kept.decision
    for kind, action in zip(told.get("kinds", ()), told.get("actions", ()), strict=True):
        if kind == "Launch" and action["pool"] == pool:
            yield f"{many(action['count'], 'executor')} ordered, because {action['why']}"
        elif action.get("executor") in mine:
            yield f"{action['executor']} {'goes' if kind == 'Retire' else 'gets no more work'}, because {action['why']}"
