"""From a push or a tree to a job: plan against what was built last, submit what is to build."""

import json
import logging
import os
import pwd
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, func, insert, select
from sqlalchemy.exc import OperationalError

from farm import tables as t
from farm.changes import Repository
from farm.hooks import GitEvent, done, read_spool
from farm.model import JobState
from farm.publisher import built
from farm.refusal import Refusal
from farm.submission import submit

if TYPE_CHECKING:
    from farm.context import Farm
    from farm.workloads.packages.plan import Built, Plan, Wish

log = logging.getLogger(__name__)

AGAIN = timedelta(minutes=1)
PATH_MAX = 4096  # limits.h
_ONE_AT_A_TIME = threading.Lock()  # the later a plan looked at its sources, the higher the number of its job
Note = Callable[[Connection, int], None]
_TOLD = select(t.Pushed.answer, t.Pushed.at).where(t.Pushed.event == bindparam("e")).order_by(t.Pushed.id.desc())
_STATE = select(t.Job.state).where(t.Job.id == bindparam("j"))
_LAST = (
    select(t.Pushed.event)
    .where(func.substr(t.Pushed.event, 1, bindparam("n")) == bindparam("ref"))
    .order_by(t.Pushed.id.desc())
    .limit(1)
)
_TAKE = insert(t.Pushed)


def pushed(farm: "Farm", event: GitEvent) -> dict[str, Any]:
    """What a push makes necessary: {id or null, why, notes}.

    Told again within a minute, or while its job is open, it gets the same answer; a push told so late that a later one
    of its ref was taken before makes nothing necessary.

    Raises Refusal when it can't be built.
    """
    key = json.dumps([str(event.repository), event.ref, event.old, event.new])
    with _ONE_AT_A_TIME:
        return _told(farm, event, key) or _passed(farm, event) or _plan_push(farm, event, key)


def _told(farm: "Farm", event: GitEvent, key: str) -> dict[str, Any] | None:
    with farm.db.read() as tx:
        row = tx.execute(_TOLD, {"e": key}).first()
        if row is None:
            return None
        state = tx.execute(_STATE, {"j": row.answer["id"] or 0}).scalar_one_or_none()
    fresh = row.at > farm.clock.now() - AGAIN or state in (JobState.HELD, JobState.QUEUED, JobState.RUNNING)
    return dict(row.answer) if fresh and not _again(farm, event) else None


def _again(farm: "Farm", event: GitEvent) -> bool:
    """The ref went elsewhere and came back by another push of the same commits."""
    last = _last(farm, event)
    return last not in ("", event.new) and _commit(event, event.ref) == _commit(event, event.new) != ""


def _passed(farm: "Farm", event: GitEvent) -> dict[str, Any] | None:
    """The answer to a push when a later one, to where the ref is now, was taken before it."""
    tip, new = _commit(event, event.ref), _commit(event, event.new)
    if not tip or not new or tip == new or _commit(event, _last(farm, event)) != tip:
        return None
    return {"id": None, "why": f"nothing to build: {event.ref} is at {tip[:8]} by now, and that was taken", "notes": []}


def _last(farm: "Farm", event: GitEvent) -> str:
    """Where the push of this ref that was taken last led to; "" when there was none."""
    ref = json.dumps([str(event.repository), event.ref])[:-1] + ","  # as the keys of its pushes begin
    with farm.db.read() as tx:
        key = tx.execute(_LAST, {"ref": ref, "n": len(ref)}).scalar()
    return str(json.loads(key)[3]) if key else ""


def _commit(event: GitEvent, name: str) -> str:
    """The commit of that name; "" when there is none (any more)."""
    try:
        return Repository(event.repository).commit(name) if name else ""
    except Refusal:
        return ""


def _plan_push(farm: "Farm", event: GitEvent, key: str) -> dict[str, Any]:
    """Job and note are one transaction: a push makes one job, or none."""
    from farm.workloads.packages.plan import plan_rebuild

    wish = _wish(farm, {"owner": _owner(event.repository)})
    plan = plan_rebuild(event.repository, event.ref, event.old, event.new, known(farm), wish)

    def note(tx: Connection, job: int | None) -> None:
        answer = {"id": job, "why": plan.why, "notes": list(plan.notes)}
        tx.execute(_TAKE, {"event": key, "at": farm.clock.now(), "answer": answer})

    answer = _answer(farm, plan, note)
    if answer["id"] is None:
        with farm.db.write() as tx:
            note(tx, None)
    return answer


def take_spooled(farm: "Farm") -> None:
    """Pushes that their hooks could only write down. One that can't be built is told in the log, not tried for ever."""
    for event in read_spool(farm.home):
        try:
            answer = pushed(farm, event)
            log.info("push to %s of %s: %s", event.ref, event.repository, answer["why"])
        except Refusal as refusal:
            log.warning("push to %s of %s: %s", event.ref, event.repository, refusal)
        except OperationalError as error:
            log.warning("push to %s of %s waits for the database: %s", event.ref, event.repository, error.orig)
            continue
        except Exception:
            log.exception("push to %s of %s can't be taken", event.ref, event.repository)
        done(event)


def tree(farm: "Farm", path: str, old: str, new: str, options: dict[str, Any]) -> dict[str, Any]:
    """What of a tree differs from what was built last: {id or null, why, notes}."""
    from farm.workloads.packages.plan import plan_rebuild, plan_tree

    if not os.path.isabs(path) or "\0" in path or len(os.fsencode(path)) >= PATH_MAX:
        raise Refusal(f"{path[:200]!r} is no full path", "tree", "give the full path of a folder on the farm's machine")
    wish = _wish(farm, options)
    with _ONE_AT_A_TIME:
        if old or new:
            plan = plan_rebuild(Path(path), new, old, new, known(farm), wish, narrow=True)
        else:
            plan = plan_tree(Path(path), known(farm), wish)
        return _answer(farm, plan)


def known(farm: "Farm") -> "dict[str, Built]":
    """What was built last, what is just being published included."""
    farm.published(30)
    with farm.db.read() as tx:
        return built(tx)


def _answer(farm: "Farm", plan: "Plan", also: Note = lambda _tx, _job: None) -> dict[str, Any]:
    if plan.refused:
        raise Refusal(plan.why)
    job = submit(farm, plan.job, also) if plan.job is not None else None
    if job is not None:
        farm.feed.accepted([(job, 0)])  # what is skipped at once has its result already
    return {"id": job, "why": plan.why, "notes": list(plan.notes)}


def _wish(farm: "Farm", options: dict[str, Any]) -> "Wish":
    from farm.workloads.packages.plan import Wish

    cache = farm.home.path / "cache"
    cache.mkdir(exist_ok=True, mode=0o700)
    return Wish(put=farm.store.put_bytes, cache=cache, **options)


def _owner(path: Path) -> str:
    """Whose repository it is: pushes are booked on them."""
    try:
        return pwd.getpwuid(path.stat().st_uid).pw_name
    except (OSError, KeyError):
        return str(os.getuid())
