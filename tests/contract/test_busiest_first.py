"""Work goes to the most recently busy executor, so that the others grow idle and may go."""

from datetime import timedelta

from sqlalchemy import insert, update

from farm import tables as t
from farm.dispatch import Dispatcher
from farm.model import Range, StepSpec
from tests.contract.queue_farm import LANES, QueueFarm


def test_the_busy_one_first_then_whoever_was_busy_last(farm: QueueFarm) -> None:
    now = farm.clock.now()
    facts = {"order": "o", "site": "s", "state": "ready", "price_nano": 0, "why": "", "pool": "local", "slots": 2}
    times = {"ordered": now, "launched": now, "billed_until": now, "ready": now}
    idle = {"a": 50, "b": 500, "c": 5, "d": 60}
    with farm.db.write() as tx:
        rows = [{"id": name, "idle_since": now - timedelta(seconds=s), **facts, **times} for name, s in idle.items()]
        tx.execute(insert(t.Executor), rows)
        tx.execute(update(t.Executor).where(t.Executor.id == "b").values(idle_since=None))  # it is busy
    got = []
    for _ in range(4):
        farm.submit(StepSpec(argv=("x",), array=Range(first=1, last=2)))
        with farm.db.write() as tx:
            got += list(Dispatcher(LANES, 1).assign(tx, now))
    assert got == ["b", "c", "a", "d"]
