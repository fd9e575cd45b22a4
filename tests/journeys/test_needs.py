"""Tasks of a real farm get what they need of its executors, and nobody else does."""

import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.shell import Shell

SETTINGS = """
[site]
engine = "plain"
[pools.graphic]
slots = 4
ceiling = 8
max_slots = 4
gpus = 2
amounts = { dongle = 1 }
labels = { arch = "amd64" }
"""


@pytest.fixture(scope="module")
def farm() -> Iterator[Shell]:
    with tempfile.TemporaryDirectory(prefix="fn-") as folder:
        home, work = Path(folder, "home"), Path(folder, "work")
        home.mkdir()
        work.mkdir()
        (home / "farm.toml").write_text(SETTINGS)
        shell = Shell(home, work)
        try:
            shell("up")
            yield shell
        finally:
            shell("down")


def submitted(farm: Shell, *words: str) -> str:
    return str(json.loads(farm("submit", "--json", *words))["id"])


def test_devices_of_all_executors_go_to_one_task_each(farm: Shell) -> None:
    """Each of four tasks that run at once, on two executors, has a device; they end when all have told of theirs."""
    told = farm.cwd / "told"
    told.mkdir()
    tell = 'echo "$FARM_GPUS $CUDA_VISIBLE_DEVICES" > "$0/$FARM_TASK"; '
    tell += 'until [ $(ls "$0" | wc -l) -ge 4 ]; do sleep 0.1; done'
    job = submitted(farm, "--gpus", "1", "--array", "1-4", "--timeout", "100s", "--", "sh", "-c", tell, str(told))
    farm("wait", job)
    assert sorted(path.read_text() for path in told.iterdir()) == ["0 0\n", "1 1\n", "2 2\n", "3 3\n"]


def test_what_is_missing_and_where_is_told(farm: Shell) -> None:
    holds = submitted(
        farm, "--needs", "gpus=2,dongle=1", "--label", "arch=amd64", "--array", "1-2", "--", "sleep", "600"
    )
    waits = submitted(farm, "--gpus", "2", "--", "true")
    for _ in range(100):  # until both executors are there
        why = farm.json("why", waits)
        if why["cause"] == "amount":
            break
    assert why["numbers"]["short"] == {"gpus": {"needs": 2, "has": 2, "used": 2}}
    farm("cancel", holds)
    farm("wait", waits)


def test_a_device_is_the_next_ones_when_the_cancelled_task_has_really_ended(farm: Shell) -> None:
    """Each task locks the devices that it has; the first two hear nothing of TERM, and have them until KILL."""
    told = farm.cwd / "held"
    told.mkdir()
    lock = 'exec 9> "$0/lock-$FARM_GPUS"; flock -n 9 || exit 9; : > "$0/begun-$FARM_GPUS"; '
    deaf = f"trap '' TERM; {lock} while :; do sleep 1; done"
    first = submitted(farm, "--gpus", "2", "--array", "1-2", "--timeout", "300s", "--", "sh", "-c", deaf, str(told))
    pause = threading.Event()
    for _ in range(1200):
        if len([*told.glob("begun-*")]) == 2:
            break
        pause.wait(0.1)
    second = submitted(farm, "--gpus", "2", "--array", "1-2", "--", "sh", "-c", lock, str(told))
    farm("cancel", first)
    farm("wait", second)


def test_what_nobody_can_give_is_refused(farm: Shell) -> None:
    for words, said in (
        (("--gpus", "3"), "lacks gpus: it has 2 of 3"),
        (("--needs", "dongel=1"), "did you mean 'dongle'?"),
        (("--label", "arch=arm64"), "lacks label arch=arm64"),
    ):
        farm("submit", *words, "--", "true", status=2)
        assert said in farm.err
