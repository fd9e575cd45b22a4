"""The scratch folder of a slot: empty before each task, looked into only when something has changed."""

import os
import time

import pytest

from executors.site import scratchpad
from executors.site.scratchpad import SURE_NS, Scratchpad


@pytest.fixture
def pad(tmp_path, monkeypatch):
    """One whose folder changed long ago, as far as it can tell."""
    made = Scratchpad(str(tmp_path / "scratch"))
    made.make()
    later(monkeypatch)
    made.tidy()
    return made


def later(monkeypatch):
    now = time.time_ns() + 2 * SURE_NS
    monkeypatch.setattr(scratchpad.time, "time_ns", lambda: now)


def a_file_at(path):
    open(path, "w").close()


def a_file(pad):
    a_file_at(os.path.join(pad.path, "left"))


def a_tree(pad):
    os.makedirs(os.path.join(pad.path, "a", "b"))


def a_name_that_came_back(pad):
    a_file(pad)
    pad.tidy()
    a_file(pad)


def a_file_and_the_old_times(pad):
    a_file(pad)
    os.utime(pad.path, ns=(1, 1))


def another_folder(pad):
    os.rename(pad.path, pad.path + ".old")
    a_tree(pad)


def nothing(pad):
    pass


def no_folder(pad):
    os.rmdir(pad.path)


def a_file_in_its_place(pad):
    os.rmdir(pad.path)
    a_file_at(pad.path)


def a_link_to_nothing(pad):
    os.rmdir(pad.path)
    os.symlink("/nowhere", pad.path)


def a_link_to_a_folder(pad):
    os.rmdir(pad.path)
    os.symlink(os.path.dirname(pad.path), pad.path)


WAYS = (a_file, a_tree, a_name_that_came_back, a_file_and_the_old_times, another_folder, nothing, no_folder)
WAYS += (a_file_in_its_place, a_link_to_nothing, a_link_to_a_folder)


@pytest.mark.parametrize("leave", WAYS)
@pytest.mark.parametrize("calm", [True, False])
def test_whatever_is_left_is_gone_and_the_folder_can_be_entered(tmp_path, monkeypatch, leave, calm):
    made = Scratchpad(str(tmp_path / "scratch"))
    made.make()
    if calm:
        later(monkeypatch)
    monkeypatch.chdir(tmp_path)
    for _ in range(3):
        made.tidy()
        leave(made)
        made.tidy()
        made.enter()
        assert (os.getcwd(), os.listdir()) == (made.path, [])


def test_a_folder_that_is_clean_is_not_listed_again(pad, monkeypatch):
    monkeypatch.setattr(scratchpad.os, "listdir", lambda _: pytest.fail("looked into"))
    pad.tidy()


def test_one_that_changed_a_moment_ago_is_looked_into_each_time(tmp_path):
    """The next change could carry the same time."""
    made = Scratchpad(str(tmp_path / "scratch"))
    made.make()
    made.tidy()
    assert made._clean is None
