"""Tasks that need each other, through the queue: longest path and shortest task by halves, as history predicts them."""

import json
from datetime import timedelta
from heapq import heappop, heappush
from pathlib import Path

import pytest
from sqlalchemy import select

from executors.contract import Work
from farm import tables as t
from farm.acts import By
from farm.clock import micros
from farm.config import FarmConfig
from farm.model import Item, StepSpec
from farm.queue.room import Room
from farm.queue.setting import Setting
from tests.contract.queue_farm import QueueFarm
from tests.properties.order_farm import campaign, makespan

GRAPH = json.loads((Path(__file__).parents[1] / "properties" / "fourteen_packages.json").read_text())
SECONDS: dict[str, float] = GRAPH["seconds"]
AFTER: dict[str, list[str]] = GRAPH["after"]


def items(*names: str, after: dict[str, list[str]] | None = None) -> tuple[Item, ...]:
    return tuple(Item(name=name, argv=("b",), after=tuple((after or {}).get(name, ()))) for name in names)


def graph(farm: QueueFarm, **more: object) -> int:
    return farm.submit(StepSpec(items=items(*sorted(SECONDS), after=AFTER)), kind="packages", **more)


def number(work: Work) -> int:
    return int(work.attempt.split(".")[1])


def names(farm: QueueFarm, job: int) -> dict[int, str]:
    with farm.db.read() as tx:
        return {row.number: row.name for row in tx.execute(select(t.Task).where(t.Task.job == job))}


def end(farm: QueueFarm, work: Work, took: float) -> None:
    """It began so many seconds before it ends, which is a second from now."""
    farm.finish([work], started=micros(farm.clock.now()) * 1000 - int((took - 1) * 1e9))


def play(farm: QueueFarm, job: int, slots: int) -> dict[str, float]:
    """Run it on so many slots, each task for as long as the graph says; when each begins."""
    called, running, starts, now = names(farm, job), list[tuple[float, int, Work]](), dict[str, float](), 0.0
    while len(starts) < len(called) or running:
        for work in farm.claim_in(Room("e1", slots, len(running))):
            name = called[number(work)]
            starts[name] = now
            heappush(running, (now + SECONDS[name], number(work), work))
        now, _, work = heappop(running)
        end(farm, work, SECONDS[called[number(work)]])
    return starts


def test_the_packages_take_no_longer_than_by_their_longest_paths(farm: QueueFarm) -> None:
    play(farm, graph(farm), 4)  # nothing is known of their lengths yet
    starts = play(farm, graph(farm), 4)
    best = makespan(campaign(SECONDS, AFTER, 4, only="path"), SECONDS)
    assert makespan(starts, SECONDS) <= 1.05 * best
    assert starts == campaign({name: SECONDS[name] for name in sorted(SECONDS)}, AFTER, 4)


def test_what_each_takes_and_its_longest_chain_are_known_when_it_ran_once(farm: QueueFarm) -> None:
    play(farm, graph(farm), 8)
    job = graph(farm)
    with farm.db.read() as tx:
        rows = {r.name: r for r in tx.execute(select(t.Task).where(t.Task.job == job))}
        mean = tx.execute(select(t.Step.predicted_s).where(t.Step.job == job)).scalar_one()
    assert {n: r.predicted_s for n, r in rows.items()} == pytest.approx(SECONDS)
    assert (rows["attr"].path_s, rows["rsync"].path_s) == (pytest.approx(77), pytest.approx(40))
    assert mean == pytest.approx(sum(SECONDS.values()) / 14)


def test_items_that_need_nothing_are_no_campaign(farm: QueueFarm) -> None:
    job = farm.submit(StepSpec(items=items("c", "b", "a"), predicted_s=5), kind="packages")
    with farm.db.read() as tx:
        rows = tx.execute(select(t.Task).where(t.Task.job == job)).all()
        due = tx.execute(select(t.Step.due).where(t.Step.job == job)).scalar_one()
    assert [(r.predicted_s, r.path_s, r.due) for r in rows] == [(5, None, due)] * 3
    assert [number(w) for w in farm.claim(3)] == [1, 2, 3]


def halves(farm: QueueFarm) -> dict[str, int]:
    with farm.db.read() as tx:
        leads = tx.execute(select(t.Task.lead).where(t.Task.state == "running")).scalars().all()
    return {half: leads.count(half) for half in ("path", "short")}


def chains(farm: QueueFarm, n: int = 20) -> int:
    """So many chains of three, and as many single tasks, with lengths that are known."""
    after = {f"b{i}": [f"a{i}"] for i in range(n)} | {f"c{i}": [f"b{i}"] for i in range(n)}
    every = [f"{kind}{i}" for kind in "abcd" for i in range(n)]
    return farm.submit(StepSpec(items=items(*every, after=after), predicted_s=100), kind="packages")


def test_half_of_the_slots_each_whatever_ends(farm: QueueFarm) -> None:
    chains(farm)
    running = farm.claim(8)
    assert halves(farm) == {"path": 4, "short": 4}
    for _ in range(12):
        end(farm, running.pop(0), 100)
        running += farm.claim_in(Room("e1", 8, 7))
        assert halves(farm) == {"path": 4, "short": 4}


def test_a_campaign_that_is_set_otherwise_keeps_its_order(farm: QueueFarm) -> None:
    job = chains(farm)
    steering = farm.steering(FarmConfig(), By("ada", "", farm.clock.now()))
    steering.set(job, Setting(priority=20))
    called = names(farm, job)
    assert {called[number(w)][0] for w in farm.claim(2)} == {"a"}
    farm.claim(10)
    with farm.db.read() as tx:
        task = tx.execute(select(t.Task).where(t.Task.job == job, t.Task.name == "a19")).one()
        step = tx.execute(select(t.Step).where(t.Step.job == job)).one()
    assert step.due - task.due == timedelta(microseconds=3000)


def test_a_task_of_a_campaign_that_goes_again_keeps_its_place(farm: QueueFarm) -> None:
    job = graph(farm)
    with farm.db.read() as tx:
        before = {r.name: r.due for r in tx.execute(select(t.Task).where(t.Task.job == job))}
    farm.run(job, fail=lambda _: True)
    farm.retry(str(job))
    with farm.db.read() as tx:
        assert {r.name: r.due for r in tx.execute(select(t.Task).where(t.Task.job == job))} == before


def test_another_owner_is_not_kept_waiting_by_a_campaign(farm: QueueFarm) -> None:
    chains(farm)
    farm.claim(4)
    other = farm.submit(StepSpec(argv=("x",)), owner="bob")
    assert farm.claim_in(Room("e1", 5, 4))[0].attempt == f"{other}.1.1"


def test_what_was_taken_as_the_shortest_is_not_taken_again_as_the_longest(farm: QueueFarm) -> None:
    chains(farm, 3)
    assert len({work.attempt for work in farm.claim(9)}) == 6
