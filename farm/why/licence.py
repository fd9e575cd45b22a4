"""Work that waits for a licence of which all are in use."""

from farm.queue import licence
from farm.tables import AnyRow
from farm.why.answer import Why
from farm.why.cause import Cause
from farm.why.look import Look
from schedules.licences import Uses

_NAMED = 5  # jobs that are told


def lacks_licence(look: Look, about: str, state: str, step: AnyRow) -> Why | None:
    """None if a task of the step could begin as far as licences go."""
    if not step.licences:
        return None
    uses = licence.uses(look.tx, look.config.all_licences())
    if uses.spare(step.licences):
        return None
    name = next(name for name, count in step.licences.items() if not uses.spare({name: count}))
    return _known(look, about, state, name, uses) if name in uses.known else _unknown(about, state, name)


def _known(look: Look, about: str, state: str, name: str, uses: Uses) -> Why:
    known, used = uses.known[name], uses.used(name)
    jobs = licence.holders(look.tx, name, _NAMED)
    by = f", by job {', '.join(map(str, jobs))}" if jobs else ""
    sentence = f"{about[0].upper()}{about[1:]} waits for a licence: {used} of {known.count} of {name} are in use{by}."
    rule = f"licences are counted on the whole farm, per {known.per}"
    numbers = {"licence": name, "count": known.count, "used": used, "jobs": jobs}
    return Why(about, state, Cause.LICENCE, rule, sentence, "a task that holds it ends", numbers)


def _unknown(about: str, state: str, name: str) -> Why:
    sentence = f"{about[0].upper()}{about[1:]} waits for licence {name}, which is in farm.toml no more."
    rule = "a task holds only licences that are counted"
    return Why(about, state, Cause.LICENCE, rule, sentence, f"[licences.{name}] count = 1 in farm.toml")
