"""The end of an executor: nothing is left below it, but what it may not end, which must not keep it from ending."""

import subprocess
import sys
from pathlib import Path

ENDING = """
import os, subprocess
from executors.site import executor
kill = os.kill
others = subprocess.Popen(["sleep", "60"], stdout=-3, stderr=-3)
mine = [subprocess.Popen(["sleep", "60"], stdout=-3, stderr=-3) for _ in range(2)]

def refusing(pid, number):
    if pid == others.pid:
        raise PermissionError
    kill(pid, number)

os.kill = refusing
executor._end(None)
print(os.path.exists(f"/proc/{others.pid}"), any(os.path.exists(f"/proc/{one.pid}") for one in mine))
kill(others.pid, 9)
"""


def test_a_child_of_another_user_does_not_keep_it_from_ending() -> None:
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", ENDING], cwd=root, env={"PYTHONPATH": root}, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout.split(), done.returncode) == (["True", "False"], 0), done.stderr
