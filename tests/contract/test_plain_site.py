"""The site contract, kept by plain processes."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from executors.contract import Order
from executors.site.plain_site import PlainSite
from tests.contract.site_suite import SiteSuite
from tests.contract.yard import Yard, eventually


class TestPlainSite(SiteSuite):
    @classmethod
    def make_yard(cls) -> Yard:
        return Yard("plain", PlainSite)


@pytest.fixture
def brief() -> Iterator[Yard]:
    """Executors that live for a second without their farm."""
    yard = Yard("plain", PlainSite, lease_s=1)
    yield yard
    yard.close()


def test_an_executor_that_nobody_talks_to_ends_itself(brief: Yard):
    (unmet,) = brief.launch(Order("unmet", "local", 1, 1))  # nobody has spoken with it: a start may take long
    forgotten = brief.executor(1)
    kept = brief.executor(1)
    brief.site.renew(timedelta(seconds=60))
    brief.site.start([brief.work("1.1.1", "true")], kept)  # an event ends the wait of the poll: the next one renews
    brief.until("1.1.1")
    eventually(lambda: brief.ended(forgotten), within=10)
    assert not brief.ended(kept)
    assert not brief.ended(unmet.id)


def test_a_task_knows_nothing_of_the_socket(brief: Yard):
    on = brief.executor(1)
    brief.result(on, brief.work("1.1.1", "sh", "-c", "ls -l /proc/self/fd | grep -c -e socket -e eventfd; true"))
    assert brief.log("1.1.1") == b"0\n"
