"""From a push or a tree to a job: plan against what was built last, submit what is to build."""

import json
import logging
import os
import pwd
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection, bindparam, func, insert, select
from sqlalchemy.exc import InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from farm import tables as t
from farm.db import Superseded
from farm.hooks import GitEvent, SentEvent, done, read_spool
from farm.model import JobState
from farm.publisher import built
from farm.refusal import Refusal
from farm.submission import submit

if TYPE_CHECKING:
    from farm.context import Farm
    from farm.workloads.packages.plan import Built, Plan, Wish
    from farm.workloads.packages.sent import Description

log = logging.getLogger(__name__)

AGAIN = timedelta(minutes=1)
PATH_MAX = 4096  # limits.h
_ONE_AT_A_TIME = threading.Lock()  # the later a plan looked at its sources, the higher the number of its job
Note = Callable[[Connection, int], None]
Answered = Callable[[Connection, Mapping[str, Any]], None]
_TOLD = select(t.Pushed.answer, t.Pushed.at).where(t.Pushed.event == bindparam("e")).order_by(t.Pushed.id.desc())
_STATE = select(t.Job.state).where(t.Job.id == bindparam("j"))
_LAST = (
    select(t.Pushed.event)
    .where(func.substr(t.Pushed.event, 1, bindparam("n")) == bindparam("ref"))
    .order_by(t.Pushed.id.desc())
    .limit(1)
)
_TAKE = insert(t.Pushed)


class Told(Protocol):
    """A push: `commit` gives the commit of a name in its repository, "" when there is none (any more)."""

    @property
    def repository(self) -> str | Path: ...
    @property
    def ref(self) -> str: ...
    @property
    def old(self) -> str: ...
    @property
    def new(self) -> str: ...
    def commit(self, name: str, /) -> str: ...


def pushed(farm: "Farm", event: GitEvent) -> dict[str, Any]:
    """What a push to a repository of this machine makes necessary: as `taken`."""

    def plan(wish: "Wish") -> "Plan":
        from farm.workloads.packages.plan import plan_rebuild

        return plan_rebuild(event.repository, event.ref, event.old, event.new, known(farm), wish)

    return taken(farm, event, _owner(event.repository), plan)


def taken(farm: "Farm", event: Told, owner: str, plan: "Callable[[Wish], Plan]") -> dict[str, Any]:
    """What a push makes necessary: {id or null, why, notes}.

    Told again within a minute, or while its job is open, it gets the same answer; a push told so late that a later one
    of its ref was taken before makes nothing necessary.

    Raises Refusal when it can't be built.
    """
    key = json.dumps([str(event.repository), event.ref, event.old, event.new])
    with _ONE_AT_A_TIME:
        return (
            _told(farm, event, key)
            or _passed(farm, event)
            or _plan_push(farm, plan(_wish(farm, {"owner": owner})), key)
        )


def _told(farm: "Farm", event: Told, key: str) -> dict[str, Any] | None:
    with farm.db.read() as tx:
        row = tx.execute(_TOLD, {"e": key}).first()
        if row is None:
            return None
        state = tx.execute(_STATE, {"j": row.answer["id"] or 0}).scalar_one_or_none()
    fresh = row.at > farm.clock.now() - AGAIN or state in (JobState.HELD, JobState.QUEUED, JobState.RUNNING)
    return dict(row.answer) if fresh and not _again(farm, event) else None


def _again(farm: "Farm", event: Told) -> bool:
    """The ref went elsewhere and came back by another push of the same commits."""
    last = _last(farm, event)
    return last not in ("", event.new) and event.commit(event.ref) == event.commit(event.new) != ""


def _passed(farm: "Farm", event: Told) -> dict[str, Any] | None:
    """The answer to a push when a later one, to where the ref is now, was taken before it."""
    tip, new = event.commit(event.ref), event.commit(event.new)
    if not tip or not new or tip == new or event.commit(_last(farm, event)) != tip:
        return None
    return {"id": None, "why": f"nothing to build: {event.ref} is at {tip[:8]} by now, and that was taken", "notes": []}


def _last(farm: "Farm", event: Told) -> str:
    """Where the push of this ref that was taken last led to; "" when there was none."""
    ref = json.dumps([str(event.repository), event.ref])[:-1] + ","  # as the keys of its pushes begin
    with farm.db.read() as tx:
        key = tx.execute(_LAST, {"ref": ref, "n": len(ref)}).scalar()
    return str(json.loads(key)[3]) if key else ""


def _plan_push(farm: "Farm", plan: "Plan", key: str) -> dict[str, Any]:
    """Job and note are one transaction: a push makes one job, or none."""

    def take(tx: Connection, answer: Mapping[str, Any]) -> None:
        tx.execute(_TAKE, {"event": key, "at": farm.clock.now(), "answer": dict(answer)})

    return answered(farm, plan, take)


def take_spooled(farm: "Farm") -> None:
    """Pushes that their hooks could only write down. One that can't be built is told in the log, not tried for ever."""
    for event in read_spool(farm.home):
        try:
            answer = pushed(farm, event)
            log.info("push to %s of %s: %s", event.ref, event.repository, answer["why"])
        except (OperationalError, InternalError, NoConnection, Superseded) as error:
            why = getattr(error, "orig", error)
            log.warning("push to %s of %s waits for the database: %s", event.ref, event.repository, why)
            continue
        except Refusal as refusal:
            log.warning("push to %s of %s: %s", event.ref, event.repository, refusal)
        except Exception:
            log.exception("push to %s of %s can't be taken", event.ref, event.repository)
        done(event)


def tree(
    farm: "Farm", path: str, old: str, new: str, options: dict[str, Any], also: "Answered" = lambda _tx, _answer: None
) -> dict[str, Any]:
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
        return answered(farm, plan, also)


def sent_tree(
    farm: "Farm", told: "Description", options: dict[str, Any], also: "Answered" = lambda _tx, _answer: None
) -> dict[str, Any]:
    """The same of a tree that was sent to the store."""
    from farm.workloads.packages.plan import plan_sent
    from farm.workloads.packages.sent import SentTree

    about = {"tree": told.title, "commit": told.commit} if told.commit else {"tree": told.title}
    tree = SentTree(told, farm.store.read)
    with _ONE_AT_A_TIME:
        plan = plan_sent(
            tree, told.title, about, known(farm), _wish(farm, {**options, "asked": told.asked}), told.changed
        )
        return answered(farm, plan, also)


def sent_push(farm: "Farm", event: SentEvent, told: "Description | None", owner: str) -> dict[str, Any]:
    """The same of a push to a repository elsewhere; without a tree its ref was deleted."""
    from farm.workloads.packages.plan import Plan, plan_sent
    from farm.workloads.packages.sent import SentTree

    def plan(wish: "Wish") -> Plan:
        if told is None:
            return Plan(None, f"{event.ref} was deleted: nothing to build")
        about = {"repository": event.repository, "ref": event.ref, "commit": told.commit}
        short = event.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        wish = replace(wish, asked=told.asked)
        return plan_sent(SentTree(told, farm.store.read), f"{short} of {told.title}", about, known(farm), wish, None)

    return taken(farm, event, owner, plan)


def known(farm: "Farm") -> "dict[str, Built]":
    """What was built last, what is just being published included."""
    farm.published(30)
    with farm.db.read() as tx:
        return built(tx)


def answered(farm: "Farm", plan: "Plan", also: Answered) -> dict[str, Any]:
    """The answer to a rebuild, which is also kept by `also`, in the transaction of its job if there is one."""

    def note(tx: Connection, job: int | None) -> None:
        also(tx, {"id": job, "why": plan.why, "notes": list(plan.notes)})

    answer = _answer(farm, plan, note)
    if answer["id"] is None:
        with farm.db.write() as tx:
            note(tx, None)
    return answer


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
