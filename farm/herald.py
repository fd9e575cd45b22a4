"""On PostgreSQL, a thread of the leader: tells the other processes of the API that something moved, and where to reach
the leader. Nobody is told anything while there is none."""

import json
import logging
import threading
import time
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from farm import postgres, roll
from farm import tables as t

if TYPE_CHECKING:
    from farm.context import Farm
    from farm.lease import Member

log = logging.getLogger(__name__)

LOOK_S = 2.0  # how soon it is noticed that somebody listens; who listens looks by itself meanwhile
GAP_S = 0.03  # between two tellings: short tasks end by the thousand
_REACH = "reach"
_VALUE = select(t.Meta.value).where(t.Meta.key == _REACH)
_SET = update(t.Meta).where(t.Meta.key == _REACH).values(value=bindparam("v"))
_ADD = insert(t.Meta)


class Herald:
    """`moved` is called with every change, and only notes it."""

    def __init__(self, farm: "Farm", leader: "Member") -> None:
        self._farm, self._leader = farm, leader
        self._woken, self._closed = threading.Event(), threading.Event()
        self._heard = False  # somebody listens
        self._looked = -LOOK_S
        self._written = ""
        self._thread = threading.Thread(target=self._telling, name="herald", daemon=True)

    def moved(self) -> None:
        self._woken.set()

    def start(self) -> None:
        if not self._farm.db.sqlite:  # else all others are in this home, and see for themselves
            self._thread.start()

    def stop(self) -> None:
        self._closed.set()
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join(5)

    def _telling(self) -> None:
        while not self._closed.is_set():
            moved = self._woken.wait(LOOK_S)
            self._woken.clear()
            try:
                self._turn(moved)
            except (SQLAlchemyError, OSError) as error:
                log.info("other processes of the API can't be told: %s", error)
            self._closed.wait(GAP_S)

    def _turn(self, moved: bool) -> None:
        if time.monotonic() - self._looked >= LOOK_S:
            self._looked = time.monotonic()
            self._heard = bool(roll.present(self._farm.db, self._farm.home, self._farm.clock.now()))
            self._write_reach()
        if moved and self._heard:
            with self._farm.db.aside() as tx:
                postgres.tell_news(tx)

    def _write_reach(self) -> None:
        """Where those on other machines reach the leader, and whom they have to trust."""
        listener = self._farm.listener
        url, ca = (listener.straight, listener.ca()) if listener else ("", "")
        text = json.dumps({"id": self._leader.id, "url": url, "ca": ca})
        if text == self._written:
            return
        with self._farm.db.aside() as tx:
            if not tx.execute(_SET, {"v": text}).rowcount:
                tx.execute(_ADD, {"key": _REACH, "value": text})
        self._written = text


def reach_of(farm: "Farm", leader: "Member") -> tuple[str, str]:
    """URL and CA of this leader; "" where it listens to nobody."""
    with farm.db.read() as tx:
        said = json.loads(tx.execute(_VALUE).scalar_one_or_none() or "{}")
    return (said["url"], said["ca"]) if said.get("id") == leader.id else ("", "")
