"""Somebody who goes on submitting while a fault lasts, and remembers what was acknowledged."""

import threading
from typing import Any

from farm.client import connect
from farm.refusal import Refusal
from tests.chaos.ground import Ground
from tests.chaos.work import RETRIES, Work

MOST = 6  # jobs in a fault
PAUSE_S, LONGER = 0.05, 1.8
AWAY = (503, 507)  # what a farm may answer whose database, disk or service is away
ENOUGH_S = 120  # for a call that began in the fault to end after it


class Caller:
    """With it, for as long as a fault lasts."""

    def __init__(self, ground: Ground, work: Work) -> None:
        self._ground, self._work = ground, work
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._call, name="caller", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(ENOUGH_S)
        if self._thread.is_alive():
            self._work.wrong.append(f"a submit was not answered {ENOUGH_S} s after a fault was over")

    def _call(self) -> None:
        pause = PAUSE_S
        for _ in range(MOST):
            if self._over.wait(pause):
                return
            self._submit(f"call-{len(self._work.acknowledged) + len(self._work.refused)}")
            pause *= LONGER

    def _submit(self, name: str) -> None:
        """One that is refused may be there all the same: the answer may have been lost."""
        step: dict[str, Any] = {"name": "main", "argv": self._work.argv(0.02), "retries": RETRIES}
        try:
            with connect(self._ground.home) as client:
                made = client.submit("/v1/jobs", {"name": name, "owner": "caller", "steps": [step]})
                self._work.acknowledged[name] = int(made["id"])
        except Refusal as error:
            self._work.refused.append(name)
            if error.status not in AWAY:
                self._work.wrong.append(f"a submit was answered {error.status}: {error}")
