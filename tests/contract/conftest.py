"""What the contracts of the queue share."""

import pytest

from farm.db import Database
from tests.contract.queue_farm import QueueFarm


@pytest.fixture
def farm(db: Database) -> QueueFarm:
    """A queue of its own, empty."""
    return QueueFarm(db)
