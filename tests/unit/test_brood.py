"""The children of a keeper: what they used is told of the right one, and none is overlooked."""

import os
import signal
import subprocess
import sys

import pytest

from executors.site import brood as brood_file
from executors.site.brood import Brood

PROGRAM = """
import ctypes, os, signal, sys, time
from executors.site.brood import Brood

ctypes.CDLL(None).prctl(36, 1)  # orphans become ours
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
brood = Brood()
if sys.argv[1] == "untold":
    os.close(brood._list)
    brood._list = -1


def task(script):
    brood.begin()
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", script], {})
    while not brood.reap(pid):
        signal.sigtimedwait([signal.SIGCHLD], 60)


BURN = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"
task(BURN)
assert brood.none()
first = brood.usage()
task(":")
assert brood.none()
second = brood.usage()
task(f"({BURN}) & exec sleep 0.01")  # an orphan that works on
left = not brood.none()
while not brood.none():
    signal.sigtimedwait([signal.SIGCHLD], 0.1)
third = brood.usage()
task(":")
assert brood.none()
print(left, *first, *second, *third, brood.usage()[0], os.waitstatus_to_exitcode(brood.status))
"""


@pytest.mark.parametrize("kernel", ["tells", "untold"])
def test_each_is_told_what_its_own_used(kernel):
    said = subprocess.run([sys.executable, "-c", PROGRAM, kernel], capture_output=True, text=True, check=True).stdout
    left, first, rss, second, _, third, _, fourth, code = said.split()
    assert (left, code) == ("True", "0")
    assert int(rss) > 0
    assert int(first) > 10 * max(1, int(second), int(fourth)) / 4
    assert int(third) * 4 > int(first)  # that of the orphan, too


def test_a_child_that_is_there_is_not_overlooked():
    brood = Brood()
    assert brood._list >= 0, "this kernel does not tell of children"
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    try:
        assert os.pread(brood._list, 1, 0)
        assert not brood.none()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(brood._list)


def test_a_kernel_that_does_not_tell_of_children_is_asked_another_way(monkeypatch):
    monkeypatch.setattr(brood_file, "LIST", "/nowhere")
    assert Brood()._list == -1
