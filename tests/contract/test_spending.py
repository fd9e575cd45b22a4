"""What is asked of the database at each turn of the wheel to know what budgets have left."""

from sqlalchemy import event, insert

from farm import tables as t
from farm.config import FarmConfig
from farm.db import Database
from farm.spending import Spending
from tests.contract.queue_farm import QueueFarm

SHAPE = {"pools": {"cloud": {"provider": "simulated"}}, "budgets": {"films": {"amount": 1}}}
CONFIG = FarmConfig.model_validate(SHAPE)


def _machines(farm: QueueFarm, first: int, last: int) -> None:
    now = farm.clock.now()
    facts = {"site": "s", "state": "ready", "price_nano": 1, "why": "", "pool": "cloud", "slots": 1}
    times = {"ordered": now, "launched": now, "billed_until": now}
    order = {"pool": "cloud", "machines": 1, "slots": 1, "state": "open", "why": "", "created": now, "not_before": now}
    with farm.db.write() as tx:
        for n in range(first, last):
            tx.execute(insert(t.Order), {**order, "token": f"o{n}"})
            tx.execute(insert(t.Executor), {**facts, **times, "id": f"e{n}", "order": f"o{n}"})


def _questions(farm: QueueFarm) -> int:
    told: list[str] = []

    def hear(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        told.append(statement)

    with farm.db.read() as tx:
        event.listen(farm.db.engine, "before_cursor_execute", hear)
        Spending().told(tx, CONFIG, farm.clock.now())
        event.remove(farm.db.engine, "before_cursor_execute", hear)
    return len(told)


def test_many_machines_are_as_many_questions_as_one(db: Database) -> None:
    farm = QueueFarm(db)
    _machines(farm, 0, 1)
    few = _questions(farm)
    _machines(farm, 1, 30)
    assert 0 < _questions(farm) <= few
