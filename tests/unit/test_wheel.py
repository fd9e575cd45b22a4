"""The wheel's threads: a farm may go down while it still comes up."""

import threading
from types import SimpleNamespace

from farm.wheel import Wheel


def test_it_can_be_stopped_while_the_first_listing_is_under_way():
    asked, answer = threading.Event(), threading.Event()

    def slow() -> None:
        asked.set()
        assert answer.wait(60)

    wheel = Wheel(SimpleNamespace(providers={}, list_machines=slow))
    starting = threading.Thread(target=wheel.start)
    starting.start()
    assert asked.wait(60)
    wheel.stop()
    answer.set()
    starting.join(60)
    for thread in wheel._threads:
        thread.join(60)
        assert not thread.is_alive()
