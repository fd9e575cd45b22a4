"""`farm.map` from the function to the results, on a farm of plain processes."""

import itertools
import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

import farm
from farm.functions import by_value
from farm.home import Home
from farm.refusal import Refusal, Unavailable

BOX = "class Box:\n    def __init__(self, n):\n        self.n = n\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    from farm.cli.service import start, stop

    made = Home(tmp_path_factory.mktemp("map")).make()
    made.config_file.write_text('[site]\nengine = "plain"\n[pools.local]\nprovider = "local"\nfloor = 2\nceiling = 2\n')
    start(made)
    yield str(made.path)
    stop(made, drain=False)


def test_results_come_in_the_order_of_the_items(home):
    more = 3
    found = farm.map(lambda n: n * n + more, range(100), batch=7, home=home)
    assert list(found) == [n * n + 3 for n in range(100)]
    assert list(farm.results(found.job, home=home)) == [n * n + 3 for n in range(100)]
    assert sorted(farm.results(found.job, ordered=False, home=home)) == [n * n + 3 for n in range(100)]


def test_what_a_function_raises_is_told_with_its_item(home):
    def bad(n: int) -> int:
        return 12 // (n - 2)

    seen = []
    with pytest.raises(farm.FunctionFailed, match=r"(?s)item 1 of the 1 of this task: 2.*ZeroDivisionError"):
        seen.extend(farm.map(bad, [1, 2], batch=1, home=home))


def test_a_module_of_the_callers_own_goes_along(home, tmp_path):
    (tmp_path / "mine.py").write_text("import more\ndef helper(n):\n    return n * more.FACTOR\n" + BOX)
    (tmp_path / "more.py").write_text("FACTOR = 5\n")
    program = textwrap.dedent(f"""
        import farm, mine
        def times(n):
            return mine.helper(n)
        class Pair:
            def __init__(self, n): self.n = n
            def __eq__(self, other): return self.n == other.n
        print(sum(farm.map(mine.helper, range(10), home={home!r})))
        print([p == Pair(k) for k, p in enumerate(farm.map(Pair, range(3), batch=2, home={home!r}))])
        print(sum(farm.map(times, range(10), home={home!r})))
        print(sum(farm.map(lambda box: box.n, [mine.Box(k) for k in range(5)], home={home!r})))
    """)
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[:4] == ["225", "[True, True, True]", "225", "10"], done.stderr


def test_what_cannot_be_sent_is_refused_before_anything_is_queued(home):
    with pytest.raises(Refusal, match="no items"):
        farm.map(len, [], home=home)
    lock = threading.Lock()
    with pytest.raises(Refusal, match="can't be sent"):
        farm.map(lambda n: lock.acquire(), [1], home=home)
    with pytest.raises(Refusal, match="an item can't be sent"):
        farm.map(len, itertools.repeat((n for n in "ab"), 1), home=home)
    with pytest.raises(Refusal, match="makes no sense"):
        farm.map(len, ["a"], batch=-1, home=home)


def test_without_a_farm_it_is_said_what_to_type(tmp_path):
    with pytest.raises(Unavailable, match="farm"):
        farm.map(len, ["a"], home=str(tmp_path))


def test_the_pickler_has_a_name_of_its_own():
    assert by_value.pickler().__name__ == by_value.NAME
    assert b"farm_by_value" in by_value.dumped(lambda n: n)


def test_the_example_counts_as_a_loop_does_and_draws_its_curve(home, tmp_path):
    program = Path(__file__).parents[2] / "examples" / "mapreduce" / "count_words.py"
    call = [sys.executable, str(program), "--mib", "1", "--slots", "1,2", "--out", str(tmp_path)]
    env = {**os.environ, "FARM_HOME": home}
    done = subprocess.run(call, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["bytes"] > 1_000_000
    assert set(told["speed_up"]) == {"1", "2"}
    assert (tmp_path / "speed-up.svg").read_text().count("<polyline") == 2


def test_a_job_that_is_cancelled_before_all_of_it_ran_is_no_shorter_result(home):
    """Nothing of it runs then: no task that was running is told as cancelled."""
    for ordered in (True, False):
        command = [sys.executable, "-m", "farm", "hold", "lane:default", "--why", "a trial", "--home", home]
        subprocess.run(command, check=True, capture_output=True)
        found = farm.map(len, ["a", "b"], batch=1, ordered=ordered, home=home)
        subprocess.run([sys.executable, "-m", "farm", "cancel", str(found.job), "--home", home], check=True)
        command[3] = "release"
        subprocess.run(command, check=True, capture_output=True)
        with pytest.raises(farm.FunctionFailed, match=rf"job {found.job} cancelled before all of it ran"):
            list(found)
