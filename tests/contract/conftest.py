"""What the contracts of the queue share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.db import Database
from tests.contract.queue_farm import QueueFarm


@pytest.fixture
def farm(tmp_path: Path, empty: Path) -> Iterator[QueueFarm]:
    """A queue of its own, empty."""
    db = Database.file(Path(shutil.copy(empty, tmp_path)))
    yield QueueFarm(db)
    db.close()
