"""How long something took is forgotten when it has not run for long, and kept while it runs."""

from datetime import timedelta

from sqlalchemy import select

from farm import outdated
from farm import tables as t
from farm.model import StepSpec
from tests.contract.queue_farm import QueueFarm

DAY = timedelta(days=1)


def run(farm: QueueFarm, name: str) -> None:
    farm.run(farm.submit(StepSpec(argv=("true",)), name=name))


def known(farm: QueueFarm) -> list[str]:
    with farm.db.read() as tx:
        return [what.split("/")[1] for what in tx.execute(select(t.Duration.what).order_by(t.Duration.what)).scalars()]


def forget(farm: QueueFarm, days: int, dry: bool = False) -> int:
    return outdated.forget(farm.db, farm.clock.now() - days * DAY, dry)


def test_what_runs_no_more_goes_and_what_runs_stays(farm: QueueFarm, monkeypatch) -> None:
    monkeypatch.setattr(outdated, "GROUP", 2)
    for name in ("a", "b", "c", "d", "e"):
        run(farm, name)
    outdated.notice(farm.db, farm.clock.now())
    farm.clock.turn(10 * 86400)
    run(farm, "c")
    assert forget(farm, 5, dry=True) == 4
    outdated.notice(farm.db, farm.clock.now())
    assert forget(farm, 5) == 4
    assert known(farm) == ["c"]
    assert forget(farm, 5) == 0


def test_what_ran_since_the_last_look_is_not_forgotten(farm: QueueFarm) -> None:
    run(farm, "a")
    outdated.notice(farm.db, farm.clock.now())
    farm.clock.turn(10 * 86400)
    run(farm, "a")
    assert forget(farm, 5) == 0
    outdated.notice(farm.db, farm.clock.now())
    assert forget(farm, 5) == 0


def test_what_nobody_has_looked_at_yet_is_young(farm: QueueFarm) -> None:
    run(farm, "a")
    farm.clock.turn(1000 * 86400)
    assert forget(farm, 5) == 0
    assert known(farm) == ["a"]
