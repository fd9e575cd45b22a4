"""How long one who follows a job bears that the farm is away: the network was cut, or the service starts anew."""

import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from farm.refusal import Refusal, Unavailable

T = TypeVar("T")
FOLLOWING_S = 300.0
SENDING_S = 30.0
FIRST_S, LONGEST_S = 0.1, 5.0  # between two tries
Say = Callable[[str], None]


class Away(Unavailable):
    """Nobody answered; `lasting` when trying again is of no use."""

    lasting = False


def following_s(default: float = FOLLOWING_S) -> float:
    """FARM_PATIENCE, else five minutes. Raises Refusal."""
    given = os.environ.get("FARM_PATIENCE")
    if not given:
        return default
    from farm.durations import parse_duration

    try:
        return parse_duration(given).total_seconds()
    except ValueError as error:
        raise Refusal(f"{given[:40]!r} is no duration", "FARM_PATIENCE", "write it like 5m") from error


class Patience:
    """Repeats what may be repeated. `say` is told once when the farm goes away, and once when it is back."""

    def __init__(self, seconds: float, say: Say = lambda _text: None) -> None:
        self._seconds, self._say = seconds, say
        self._pause = threading.Event()

    def endure(self, act: Callable[[], T]) -> T:
        """What `act` gives, as soon as it does. Raises Away when that takes longer than the patience."""
        try:
            return act()
        except Away as error:
            if error.lasting or self._seconds <= 0:
                raise
            self._say(f"{error.what}; trying again for {_shown(self._seconds)}")
        found = self._again(act, time.monotonic() + self._seconds)
        self._say("the farm answers again")
        return found

    def _again(self, act: Callable[[], T], end: float) -> T:
        pause = FIRST_S
        while True:
            self._pause.wait(pause)
            try:
                return act()
            except Away as error:
                if error.lasting or time.monotonic() + pause > end:
                    raise
            pause = min(pause * 2, LONGEST_S)


def _shown(seconds: float) -> str:
    from farm.durations import format_duration

    return format_duration(seconds)
