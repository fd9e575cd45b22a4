"""What came to the farm is told to who learns when people come: of the last weeks at the start, then what is new."""

from datetime import timedelta

from farm.clock import micros
from farm.config import FarmConfig
from farm.model import Range, StepSpec
from farm.newcomers import Newcomers
from farm.observe import observe
from schedules.arrivals import Arrivals, hour_of_week
from tests.contract.queue_farm import QueueFarm

CONFIG = FarmConfig.model_validate(
    {"policy": "base", "pools": {"local": {"provider": "local", "ceiling": 8, "boot": 60}}}
)


def tell(farm: QueueFarm, newcomers: Newcomers, known: Arrivals, config: FarmConfig = CONFIG) -> None:
    with farm.db.read() as tx:
        newcomers.tell(tx, known, observe(tx, config, farm.clock.now()))


def array(last: int) -> StepSpec:
    return StepSpec.model_validate({"argv": ("r",), "array": Range(first=1, last=last)})


def test_who_came_before_the_service_began_counts_and_nobody_counts_twice(farm: QueueFarm) -> None:
    farm.submit(array(3), lane="interactive")
    farm.submit(array(50), lane="bulk")
    began = farm.clock.now()
    farm.clock.turn(7 * 86400)
    known, newcomers = Arrivals(), Newcomers()
    farm.submit(array(2), lane="default")
    tell(farm, newcomers, known)
    hour = known.hours[hour_of_week(micros(began))]
    assert hour.counts[3] == 1
    assert known.came == 2
    tell(farm, newcomers, known)
    assert known.came == 2
    farm.submit(array(4), lane="interactive")
    farm.submit(array(50), lane="bulk")
    tell(farm, newcomers, known)
    assert known.came == 6


def test_what_is_long_ago_is_not_read(farm: QueueFarm) -> None:
    farm.submit(array(3), lane="interactive")
    farm.clock.turn(57 * 86400)
    known = Arrivals()
    tell(farm, Newcomers(), known)
    assert (known.came, sum(hour.total for hour in known.hours)) == (0, 0)
    assert known.since == micros(farm.clock.now())


def test_without_the_preset_nothing_is_asked(farm: QueueFarm) -> None:
    farm.submit(array(3), lane="interactive")
    known = Arrivals()
    tell(farm, Newcomers(), known, FarmConfig())
    assert known == Arrivals()
    assert not known.fits(timedelta(seconds=60))
