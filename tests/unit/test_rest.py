"""The main thread of a Ray worker rests in the handler of a signal."""

from typing import Any

from executors.site.rest import Rest


def test_one_that_rests_is_not_laid_to_rest_once_more():
    """A thread that got no processor for long is still there when the next signal comes: an Event waits on a lock that
    its own thread may hold."""
    rest: Any = Rest.__new__(Rest)
    waits: list[float] = []

    class Bell:
        def wait(self, seconds: float) -> None:
            waits.append(seconds)
            if len(waits) < 5:
                rest._rest()

    rest._awake, rest._resting = Bell(), False
    rest._rest()
    assert len(waits) == 1
    rest._rest()
    assert len(waits) == 2
