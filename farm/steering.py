"""What people do to a farm beside submitting: hold, release, set, drain, stop spending; each kept with who and why."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, select, update

from farm import fleet
from farm import tables as t
from farm.acts import By, Kind, Verb, acts, record
from farm.model import ExecutorState, OrderState
from farm.observe import observe
from farm.queue import hold as jobs
from farm.queue import holds
from farm.queue.progress import Changed
from farm.queue.setting import Setting, change
from farm.refusal import Conflict, NotFound, Refusal
from farm.wording import nearest

if TYPE_CHECKING:
    from farm.context import Farm

_EXECUTOR = select(t.Executor.state).where(t.Executor.id == bindparam("e"))
_ORDER = select(t.Order.pool).where(t.Order.token == bindparam("k"), t.Order.state == OrderState.OPEN)
_ORDER_LESS = (
    update(t.Order)
    .where(t.Order.token == bindparam("k"), t.Order.state == OrderState.OPEN)
    .where(t.Order.machines >= bindparam("n"))
    .values(machines=t.Order.machines - 1)
    .returning(t.Order.machines)
)
_CLOSE_ORDER = (
    update(t.Order)
    .where(t.Order.token == bindparam("k"), t.Order.state == OrderState.OPEN)
    .values(state=OrderState.CLOSED, error=bindparam("w"))
)
_WAITING_LANE = select(t.Job.id).where(t.Job.lane == bindparam("l"), t.Job.finished.is_(None)).limit(1)
_RUNNING = (
    select(func.count())
    .select_from(t.Attempt)
    .join(t.Job, t.Job.id == t.Attempt.job)
    .join(t.Executor, t.Executor.id == t.Attempt.executor)
    .where(t.Attempt.finished.is_(None))
)
_BUSY = {
    "lane": _RUNNING.where(t.Job.lane == bindparam("n")),
    "pool": _RUNNING.where(t.Executor.pool == bindparam("n")),
}


class Target(NamedTuple):
    """What an act is about: a job, a lane, a pool."""

    kind: Kind
    name: str


def target(farm: "Farm", tx: Connection, text: str) -> Target:
    """`17`, `lane:bulk`, `pool:ec2`, or a plain name that means one thing. Raises Refusal, NotFound."""
    kind, colon, name = text.strip().partition(":")
    if not colon:
        return Target("job", kind) if kind.isdigit() else _plain(farm, tx, kind)
    if kind == "job":
        return Target("job", name)
    if kind not in ("lane", "pool"):
        raise Refusal(f"{kind[:40]!r} can't be held", text[:80], "hold a job (17), lane:NAME or pool:NAME")
    return _known(farm, tx, Target("lane" if kind == "lane" else "pool", name))


def _plain(farm: "Farm", tx: Connection, name: str) -> Target:
    found = [Target(kind, name) for kind in ("lane", "pool") if _is(farm, tx, kind, name)]
    if len(found) > 1:
        raise Refusal(f"a lane and a pool are named {name!r}", name, f"write lane:{name} or pool:{name}")
    if not found:
        names = [*farm.config.all_lanes(), *farm.config.pools]
        raise NotFound(f"there is no lane and no pool {name[:80]!r}", remedy=nearest(name, names))
    return found[0]


def _known(farm: "Farm", tx: Connection, about: Target) -> Target:
    if not _is(farm, tx, about.kind, about.name):
        names = farm.config.all_lanes() if about.kind == "lane" else farm.config.pools
        raise NotFound(f"there is no {about.kind} {about.name[:80]!r}", remedy=nearest(about.name, names))
    return about


def _is(farm: "Farm", tx: Connection, kind: str, name: str) -> bool:
    """Also what left farm.toml and is held, or has jobs in it."""
    if (kind, name) in holds.held(tx):
        return True
    if kind == "pool":
        return name in farm.config.pools
    return name in farm.config.all_lanes() or tx.execute(_WAITING_LANE, {"l": name}).first() is not None


@dataclass(frozen=True, slots=True)
class Steering:
    """One request of one person. Every method raises Refusal, NotFound or Conflict and then changes nothing.

    `allow` is asked before anything is done to a target; it raises when this person may not.
    """

    farm: "Farm"
    by: By
    allow: Callable[[Connection, Target], None] = lambda _tx, _about: None

    def hold(self, text: str) -> dict[str, Any]:
        with self.farm.db.write() as tx:
            about = self._target(tx, text)
            running = self._hold(tx, about)
        self._news(about)
        return {"kind": about.kind, "name": about.name, "held": True, "running": running}

    def release(self, text: str) -> dict[str, Any]:
        with self.farm.db.write() as tx:
            about = self._target(tx, text)
            if about.kind == "job":
                jobs.release(tx, _number(about))
            elif not holds.remove(tx, about.kind, about.name):
                raise Conflict(f"{about.kind} {about.name} is not held", remedy="`farm acts` lists what is")
            record(tx, self.by, "release", about.kind, about.name)
            self._dispatch(tx)
        self._news(about)
        return {"kind": about.kind, "name": about.name, "held": False, "running": 0}

    def set(self, job: int, new: Setting) -> dict[str, Any]:
        about = Target("job", str(job))
        with self.farm.db.write() as tx:
            self.allow(tx, about)
            changed = change(tx, job, new, self.farm.config.all_lanes(), self.by.at)
            record(tx, self.by, "set", "job", str(job), changed)
            self._dispatch(tx)
        self._news(about)
        return {"job": job, "changed": changed}

    def drain(self, executor: str) -> dict[str, Any]:
        about = Target("executor", executor)
        with self.farm.db.write() as tx:
            self.allow(tx, about)
            self._drain(tx, executor)
            record(tx, self.by, "drain", "executor", executor)
        self._news(about)
        return {"executor": executor, "state": "draining"}

    def spending(self, stopped: bool) -> dict[str, Any]:
        """Pools whose executors cost nothing now go on."""
        about = Target("spending", "")
        verb: Verb = "stop-spending" if stopped else "resume-spending"
        with self.farm.db.write() as tx:
            self.allow(tx, about)
            closed = self._stop(tx) if stopped else self._resume(tx)
            if not stopped:
                record(tx, self.by, verb, "spending", "")
        self._news(about)
        return {"stopped": stopped, "pools": closed}

    def _target(self, tx: Connection, text: str) -> Target:
        about = target(self.farm, tx, text)
        self.allow(tx, about)
        return about

    def _hold(self, tx: Connection, about: Target) -> int:
        """How many tasks of it still run."""
        if about.kind == "job":
            running = jobs.hold(tx, _number(about))
            record(tx, self.by, "hold", about.kind, about.name)
            return running
        self._close(tx, "hold", about)
        return int(tx.execute(_BUSY[about.kind], {"n": about.name}).scalar_one())

    def _stop(self, tx: Connection) -> list[str]:
        self._close(tx, "stop-spending", Target("spending", ""))
        return [pool.name for pool in observe(tx, self.farm.config, self.by.at).pools if pool.closed == "spending"]

    def _resume(self, tx: Connection) -> list[str]:
        if not holds.remove(tx, "spending", ""):
            raise Conflict("spending was not stopped", remedy="see `farm acts`")
        return []

    def _close(self, tx: Connection, verb: Verb, about: Target) -> None:
        """Hold a lane, a pool or all spending; executors of what is closed by that get nothing more from now on."""
        if found := holds.held(tx).get(about):
            what = f"{about.kind} {about.name}".strip()
            raise Conflict(f"{what} is {found.words} already", remedy="see `farm acts`")
        holds.add(tx, about.kind, about.name, record(tx, self.by, verb, about.kind, about.name))
        if about.kind != "lane":
            closed = {p.name: p.closed_why for p in observe(tx, self.farm.config, self.by.at).pools if p.closed}
            for row in fleet.alive(tx):
                if row.pool in closed:
                    fleet.drain(tx, row.id, closed[row.pool], self.by.at)

    def _drain(self, tx: Connection, executor: str) -> None:
        why = f"drained by {self.by.who}" + (f": {self.by.why}" if self.by.why else "")
        state = tx.execute(_EXECUTOR, {"e": executor}).scalar_one_or_none()
        if state is None:
            return _order_less(tx, executor, why)
        if state in (ExecutorState.GONE, ExecutorState.LOST):
            raise Conflict(f"executor {executor} is {state} already", remedy=f"see `farm why {executor}`")
        if not fleet.drain(tx, executor, why, self.by.at):
            raise Conflict(f"executor {executor} drains already", remedy=f"see `farm why {executor}`")
        return None

    def _dispatch(self, tx: Connection) -> None:
        if self.farm.sites is not None:
            self.farm.sites.dispatch(tx, self.by.at)

    def _news(self, about: Target) -> None:
        if about.kind == "job":
            self.farm.feed.publish(Changed(jobs={_number(about)}))
        self.farm.wake()


def _order_less(tx: Connection, executor: str, why: str) -> None:
    """It was ordered, and is not there yet. Raises NotFound."""
    token, _, number = executor.rpartition("-")
    named = number.isdecimal() and 0 < len(number) < 10 and number[0] != "0"  # else it is none of the order's
    if named and acts(tx, "executor", executor, 1):  # who did not hear the answer says it again
        what = f"executor {executor} was taken off its order already"
        raise Conflict(what, remedy="name another one of `farm executors`, or hold its pool")
    left = tx.execute(_ORDER_LESS, {"k": token, "n": int(number)}).scalar_one_or_none() if named else None
    if left is None:
        raise NotFound(f"there is no executor {executor[:80]!r}", remedy="see `farm executors`")
    if left == 0:
        tx.execute(_CLOSE_ORDER, {"k": token, "w": why})


def _number(about: Target) -> int:
    """Raises Refusal for what is no job's number."""
    if not about.name.isdecimal() or not 0 < len(about.name) < 17 or about.name.startswith("0"):
        raise Refusal(f"{about.name[:80]!r} is no job", remedy="write its number, such as 17; see `farm jobs`")
    return int(about.name)
