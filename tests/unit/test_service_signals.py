"""The service is told to go before it is there."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.cli.service import _did_not_start
from farm.home import Home
from tests.contract.yard import eventually

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home() -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="fs-", dir="/tmp") as folder:
        Path(folder, "farm.toml").write_text('[site]\nengine = "plain"\n')
        yield (made := Home(Path(folder)))
        shutil.rmtree(made.run, ignore_errors=True)  # what a farm leaves to the next one


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts_is_heeded_when_it_has(home: Home, number: signal.Signals):
    """As the first process of a container it would be deaf to it until then, and be killed at the end of its grace."""
    line = ["unshare", *([] if os.geteuid() == 0 else ["-Ur"]), "-pf", "--kill-child"]
    line += [sys.executable, "-P", "-m", "farm.service", "--home", str(home.path)]
    process = subprocess.Popen(line, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, stdout=subprocess.PIPE)
    try:
        eventually(home.lock.exists)
        first = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        subprocess.run(["kill", f"-{number.value}", first], check=True)
        out, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (process.returncode, out) == (0, b"ready\n")


def test_why_a_start_failed_is_found_among_what_others_of_the_home_write(tmp_path: Path) -> None:
    home = Home(tmp_path)
    said = '{"error": {"what": "the database is away", "where": "there", "remedy": "start it"}}'
    home.service_log.write_text(f"before\n{said}\nINFO another process\nKeyError: 'x'\n")
    assert str(_did_not_start(home, 3, 0)) == "there: the database is away; start it"
