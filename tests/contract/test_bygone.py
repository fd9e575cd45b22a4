"""Executors that went long ago are forgotten, with their orders; their bill and all that is told of them stays."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, select

from executors.contract import Machine, MachineState
from farm import bygone
from farm import tables as t
from farm.integrity import look
from farm.listings import Listing
from tests.contract.queue_farm import QueueFarm

DAY = timedelta(days=1)


def executor(farm: QueueFarm, name: str, over: bool = True, **other: object) -> None:
    """With a bill of one day."""
    start = farm.clock.now() - 400 * DAY
    until = start + DAY
    state = "gone" if over else "draining"
    facts = {"id": name, "order": f"o{name}", "site": "s", "price_nano": 0, "why": "", "pool": "local", "slots": 1}
    times = {
        "ordered": start,
        "launched": start,
        "ready": start,
        "billed_until": until,
        "ended": until if over else None,
    }
    order = {"token": f"o{name}", "pool": "local", "machines": 1, "slots": 1, "state": "placed", "why": ""}
    bill = {"executor": name, "pool": "local", "kind": "idle", "owner": "", "project": "", "price_nano": 0}
    with farm.db.write() as tx:
        tx.execute(insert(t.Order), {**order, "created": start, "not_before": start})
        tx.execute(insert(t.Executor), {**facts, **times, "state": state, "closed": over, **other})
        span = {"since": start, "until": until, "micros": DAY // timedelta(microseconds=1), "cost_nano": 0}
        tx.execute(insert(t.Ledger), {**bill, **span})


def there(farm: QueueFarm) -> tuple[list[str], list[str]]:
    with farm.db.read() as tx:
        executors = tx.execute(select(t.Executor.id).order_by(t.Executor.id)).scalars().all()
        orders = tx.execute(select(t.Order.token).order_by(t.Order.token)).scalars().all()
    return list(executors), list(orders)


def forget(farm: QueueFarm, *listed: str, dry: bool = False, pools: tuple[str, ...] = ("local",)) -> int:
    now = farm.clock.now()
    machines = [Machine(name, "o", "local", MachineState.RUNNING, 1, now) for name in listed]
    return bygone.forget(farm.db, now - 30 * DAY, {"local": Listing(now, machines)}, pools, dry)


@pytest.fixture
def many(farm: QueueFarm, monkeypatch: pytest.MonkeyPatch) -> QueueFarm:
    monkeypatch.setattr(bygone, "GROUP", 2)
    for name in ("a", "b", "c", "d", "e"):
        executor(farm, name)
    return farm


def test_they_go_and_their_bill_stays(many: QueueFarm) -> None:
    executor(many, "lives", over=False)
    assert forget(many, dry=True) == 5
    assert len(there(many)[0]) == 6
    assert forget(many) == 5
    assert there(many) == (["lives"], ["olives"])
    with many.db.read() as tx:
        assert len(tx.execute(select(t.Ledger.id)).all()) == 6
    assert [found.what for found in look(many.db)] == []


def test_who_is_told_of_stays(many: QueueFarm) -> None:
    """One whose attempt is there, one that may still have something, one in the books of its provider, a bill that
    is not complete."""
    now = many.clock.now()
    with many.db.write() as tx:
        attempt = {"job": 1, "number": 1, "ordinal": 1, "executor": "a", "token": 1, "slots": 1, "state": "lost"}
        tx.execute(insert(t.Attempt), {**attempt, "claimed": now, "finished": now})
        ending = {"job": 1, "number": 1, "ordinal": 1, "executor": "b", "token": 1, "since": now, "asked": now}
        tx.execute(insert(t.Ending), ending)
    executor(many, "f", closed=False)
    executor(many, "g", ended=now, billed_until=now)
    assert forget(many, "c") == 2
    assert there(many) == (["a", "b", "c", "f", "g"], ["oa", "ob", "oc", "of", "og"])


def test_nobody_goes_whose_providers_books_are_not_known(many: QueueFarm) -> None:
    assert bygone.forget(many.db, many.clock.now() - 30 * DAY, {}, ("local",)) == 0
    assert bygone.forget(many.db, many.clock.now() - 30 * DAY, {}, ()) == 5
