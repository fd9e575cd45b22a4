"""A commit whose answer is lost: it counts, and nothing that should have followed from it has."""

import contextlib
import shutil
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from executors.simulated import SimulatedOptions
from farm.config import FarmConfig
from tests.properties.simulated_farm import SimulatedFarm

POOLS = {"cloud": {"provider": "simulated", "slots": 2, "ceiling": 4, "price_per_hour": "1"}}
STEP = {"argv": ["true"], "array": {"first": 1, "last": 12}, "retries": 0}


@pytest.mark.parametrize("n", range(1, 16))
def test_what_was_handed_out_by_it_still_runs(
    tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    path = Path(shutil.copy(empty, tmp_path / "farm.db"))
    farm = SimulatedFarm(
        path, FarmConfig.model_validate({"pools": POOLS}), SimulatedOptions(boot_s=1, slots=2, ceiling=4)
    )
    farm.turn()
    job = farm.submit(STEP)
    commit, left = Connection.commit, iter(range(1, n + 1))

    def cut(connection: Connection) -> None:
        """The connection breaks in the answer to the n-th."""
        commit(connection)
        if next(left, 0) == n:
            raise OperationalError("COMMIT", {}, Exception("the connection was cut"))

    monkeypatch.setattr(Connection, "commit", cut)
    for _ in range(30):
        with contextlib.suppress(OperationalError):
            farm.turn()
    assert next(left, 0) == 0
    farm.run(200)
    assert farm.job(job)["state"] == "done"
    farm.db.close()
