"""Days that are laid down and forgotten leave a database that is in order, whichever it is."""

from pathlib import Path

from benchmarks import growing_old
from tests.contract.queue_farm import QueueFarm


def test_what_is_left_is_in_order(farm: QueueFarm) -> None:
    files = Path(farm.db.where).parent if farm.db.sqlite else None
    told = growing_old.grown(farm.db, files, 100, worked=60, days=3, keep=1)
    assert [day["forgotten_tasks"] for day in told["days"]] == [0, 0, 200]  # a hundred were to warm up
    assert told["books"] == []
    assert told["last_to_first"] > 0
    assert files or all(day["database_mib"] > 0 for day in told["days"])
