"""What nobody asks for any more is removed: old logs, decisions, refused results, what broken uploads left behind."""

import logging
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, case, delete, func, insert, select, update

from farm import bygone, outdated
from farm import tables as t
from farm.decisions import WHOLE_EVERY
from farm.fleet import ALIVE
from farm.forgetting import forget
from farm.given import FILE

if TYPE_CHECKING:
    from farm.context import Farm

log = logging.getLogger(__name__)

EVERY = timedelta(days=1)
LOOK_S = 600.0  # the service looks so often whether a day has passed
GROUP = 5000  # rows of one transaction: nobody waits long for the writer
FRESH = timedelta(minutes=1)  # what is younger may be written just now
_LAST = "pruned"  # in table meta: when it was done last

_ALIVE = select(t.Executor.id).where(t.Executor.state.in_(ALIVE))
_ENDED_LATELY = select(t.Executor.id).where(t.Executor.ended > bindparam("cut"))
_STATED = select(t.Meta.value).where(t.Meta.key == _LAST)
_STATE = update(t.Meta).where(t.Meta.key == _LAST).values(value=bindparam("v"))
_FIRST = insert(t.Meta)
# a token that was given stays: where its row is missing, the next start takes it anew, revoked or not
_GOOD_NO_MORE = case((t.Token.created_by != FILE, func.coalesce(t.Token.revoked, t.Token.expires)))
_OLD: dict[str, tuple[Any, Any]] = {
    "decisions": (t.DecisionRow.id, t.DecisionRow.at),
    "refused": (t.Refused.id, t.Refused.at),
    "quarantines": (t.Quarantine.executor, t.Quarantine.at),
    "tokens": (t.Token.id, _GOOD_NO_MORE),
}


@dataclass(slots=True)
class Pruned:
    """What was removed, or with a dry run would be."""

    logs: int = 0  # files
    log_bytes: int = 0
    decisions: int = 0
    refused: int = 0
    quarantines: int = 0
    tokens: int = 0  # that are good no more
    jobs: int = 0  # that ended long ago
    tasks: int = 0  # of those
    executors: int = 0  # that went long ago, and ran nothing of which is told any more
    durations: int = 0  # of what has not run for long
    leftovers: int = 0  # of broken uploads


def prune(farm: "Farm", dry: bool = False) -> Pruned:
    """Remove what is older than `[keep]` of farm.toml says. Safe to repeat, beside a working farm too."""
    now, keep, out = farm.clock.now(), farm.config.keep, Pruned()
    for path in old_logs(farm, now - keep.logs):
        with suppress(FileNotFoundError):  # somebody else prunes as well
            size = path.stat().st_size
            if not dry:
                path.unlink()
            out.log_bytes += size
            out.logs += 1
    if not dry:
        _empty_folders(farm.home.logs, now - keep.logs)
    out.decisions = _rows(farm, "decisions", now - keep.decisions - WHOLE_EVERY, dry)  # others lean on it for so long
    out.refused = _rows(farm, "refused", now - keep.refused, dry)
    out.quarantines = _rows(farm, "quarantines", now - keep.refused, dry)
    out.tokens = _rows(farm, "tokens", now - keep.refused, dry)
    if keep.jobs is not None:
        old = forget(farm.db, now - keep.jobs, dry)
        out.jobs, out.tasks = old.jobs, old.tasks
        if farm.wheel is not None:  # what machines there are only a farm that runs knows
            out.executors = bygone.forget(
                farm.db, now - keep.jobs, farm.wheel.last_listing(), farm.wheel.providers, dry
            )
    if not dry:
        outdated.notice(farm.db, now)
    out.durations = outdated.forget(farm.db, now - keep.durations, dry)
    out.leftovers = _leftovers(farm, now) if dry else farm.store.sweep()
    if not dry:
        _remember(farm, now)
    return out


def old_logs(farm: "Farm", cut: datetime) -> Iterator[Path]:
    """Mirrors that nothing is added to any more, and nothing was since `cut`.

    Those of an executor that went before it; of one that lives, all but the newest of each slot.
    """
    with farm.db.read() as tx:
        alive = set(tx.execute(_ALIVE).scalars())
        lately = set(tx.execute(_ENDED_LATELY, {"cut": cut}).scalars())
    for folder in sorted(p for p in farm.home.logs.iterdir() if p.is_dir() and p.name not in lately):
        files = sorted(_inside(folder))
        newest = _newest(files) if folder.name in alive else set()
        yield from (p for p in files if p not in newest and _older(p, cut))


def _inside(folder: Path) -> list[Path]:
    """Plain files; none of a folder that somebody else has just removed."""
    try:
        return [path for path in folder.iterdir() if path.is_file()]
    except FileNotFoundError:
        return []


def _older(path: Path, cut: datetime) -> bool:
    """False also for what somebody else has just removed."""
    try:
        return _changed(path) < cut
    except FileNotFoundError:
        return False


def _newest(files: list[Path]) -> set[Path]:
    """The spool that each slot writes: `slot-number`, the greatest number."""
    found: dict[str, Path] = {}
    for path in files:
        slot, _, number = path.name.rpartition("-")
        old = found.get(slot)
        if old is None or _number(number) >= _number(old.name.rpartition("-")[2]):
            found[slot] = path
    return set(found.values())


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _empty_folders(logs: Path, cut: datetime) -> None:
    """An empty folder tells when its logs were pruned, for as long again as they were kept."""
    for folder in logs.iterdir():
        with suppress(FileNotFoundError):
            if folder.is_dir() and not any(folder.iterdir()) and _changed(folder) < cut:
                folder.rmdir()


def _rows(farm: "Farm", what: str, cut: datetime, dry: bool) -> int:
    key, at = _OLD[what]
    if dry:
        with farm.db.read() as tx:
            return int(tx.execute(select(func.count()).where(at < cut)).scalar_one())
    gone = group = _delete(farm, key, at, cut)
    while group == GROUP:
        gone += (group := _delete(farm, key, at, cut))
    return gone


def _delete(farm: "Farm", key: Any, at: Any, cut: datetime) -> int:
    with farm.db.write() as tx:
        some = select(key).where(at < cut).limit(GROUP)
        return tx.execute(delete(key.class_).where(key.in_(some))).rowcount


def _leftovers(farm: "Farm", now: datetime) -> int:
    folder = farm.home.store / "incoming"
    return sum(_older(path, now - FRESH) for path in folder.iterdir()) if folder.is_dir() else 0


def _remember(farm: "Farm", now: datetime) -> None:
    with farm.db.write() as tx:
        if not tx.execute(_STATE, {"v": now.isoformat()}).rowcount:
            tx.execute(_FIRST, {"key": _LAST, "value": now.isoformat()})


def last(tx: Connection) -> datetime | None:
    """When it was done last."""
    value = tx.execute(_STATED).scalar_one_or_none()
    return datetime.fromisoformat(value) if value else None


class Housekeeper:
    """One thread of the service: prunes once a day."""

    def __init__(self, farm: "Farm") -> None:
        self._farm = farm
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keeping, name="housekeeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(30)

    def _keeping(self) -> None:
        while not self._closed.wait(LOOK_S):
            try:
                self.look()
            except Exception:
                log.exception("what is old can't be removed; it is tried again")

    def look(self) -> Pruned | None:
        """Prune when a day has passed since the last time; what went, or None."""
        with self._farm.db.read() as tx:
            done = last(tx)
        if done is not None and abs(self._farm.clock.now() - done) < EVERY:
            return None
        gone = prune(self._farm)
        log.info("pruned: %s", gone)
        return gone
