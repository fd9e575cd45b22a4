"""Control groups of both versions: where they can be made, and what is written there. The files are only files here;
real groups are in test_limits."""

import errno
import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from executors.site import ground
from executors.site.cage import NO_CAGE, Cage
from executors.site.ground import base, forget, of_executor, record

Machine = Callable[[Sequence[tuple[str, str]], Sequence[tuple[str, str, str]]], dict[str, tuple[str, str]]]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Lines of /proc/self/cgroup as (controllers, path), of mountinfo as (point, root, controllers)."""

    def places(own: Sequence[tuple[str, str]], mounts: Sequence[tuple[str, str, str]]) -> dict[str, tuple[str, str]]:
        monkeypatch.setattr(ground, "_own", lambda: iter(own))
        monkeypatch.setattr(ground, "_mounts", lambda: ((p, r, set(c.split(","))) for p, r, c in mounts))
        return ground._places()

    return places


def second(folder: Path, gives: str = "", controllers: str = "cpu memory pids") -> str:
    """A group of version 2 that gives these controllers to those below it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.procs").touch()
    (folder / "cgroup.subtree_control").write_text(gives)
    (folder / "cgroup.controllers").write_text(controllers)
    return str(folder)


def test_version_1_has_a_hierarchy_for_each(machine: Machine, tmp_path: Path):
    for name in ("m/box", "p"):
        (tmp_path / name).mkdir(parents=True)
    own = [("memory", "/box"), ("pids", "/"), ("cpu,cpuacct", "/x"), ("name=systemd", "/")]
    mounts = [
        (f"{tmp_path}/m", "/", "rw,memory"),
        (f"{tmp_path}/p", "/", "rw,pids"),
        (f"{tmp_path}/c", "/", "rw,cpu,cpuacct"),
    ]
    box = f"{tmp_path}/m/box"
    assert machine(own, mounts) == {"memory": (box, box), "pids": (f"{tmp_path}/p", f"{tmp_path}/p")}


def test_in_a_container_the_mount_shows_a_part(machine: Machine, tmp_path: Path):
    assert machine([("memory", "/docker/abc/in")], [(str(tmp_path), "/docker/abc", "rw,memory")]) == {}
    (tmp_path / "in").mkdir()
    inner = f"{tmp_path}/in"
    assert machine([("memory", "/docker/abc/in")], [(str(tmp_path), "/docker/abc", "rw,memory")]) == {
        "memory": (inner, inner)
    }


def nested(tmp_path: Path) -> tuple[str, str, str]:
    """The top, a group that gives limits, and our own in it, which does not and refuses to."""
    top = second(tmp_path, "cpu memory pids")
    app = second(tmp_path / "user/app", "memory pids")
    second(tmp_path / "user", "memory pids")
    own = second(tmp_path / "user/app/shell.scope")
    # a group with processes refuses; here the write succeeds, so it must not look opened
    (Path(own) / "cgroup.controllers").write_text("cpu")
    return top, app, own


def mark(monkeypatch: pytest.MonkeyPatch, uid: int, **marked: str) -> None:
    """Be this user; the folder `marked` has this attribute, with 1."""

    def getxattr(path: str, name: str) -> bytes:
        if marked.get(name.replace(".", "_")) == path:
            return b"1"
        raise OSError(errno.ENODATA, "none")

    monkeypatch.setattr(os, "getxattr", getxattr)
    monkeypatch.setattr(os, "geteuid", lambda: uid)


@pytest.mark.parametrize("name", ["user_delegate", "trusted_delegate"])
def test_version_2_takes_one_above_that_was_given_to_us(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    top, app, own = nested(tmp_path)
    mark(monkeypatch, 0, **{name: app})
    found = machine([("", "/user/app/shell.scope")], [(top, "/", "")])
    assert found == dict.fromkeys(("memory", "pids", "tree"), (own, app))


def test_version_2_takes_one_above_that_belongs_to_our_user(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    top, app, own = nested(tmp_path)
    uid = os.geteuid() or 1234
    os.chown(app, uid, -1)
    mark(monkeypatch, uid)
    found = machine([("", "/user/app/shell.scope")], [(top, "/", "")])
    assert found == dict.fromkeys(("memory", "pids", "tree"), (own, app))


def test_version_2_never_leaves_a_unit_for_one_above_that_is_not_ours(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Neither the next, nor one further up beyond it: tasks would leave the limits of the unit, and its stop."""
    top, _, own = nested(tmp_path)
    mark(monkeypatch, 0, user_delegate=f"{tmp_path}/user")
    assert machine([("", "/user/app/shell.scope")], [(top, "/", "")]) == {"tree": (own, own)}


def test_version_2_opens_its_own_group_where_that_is_allowed(machine: Machine, tmp_path: Path):
    top = second(tmp_path)
    assert ground._opened(top) is False  # what was written is "+memory +pids": a file says it back as it is
    (tmp_path / "cgroup.subtree_control").write_text("memory pids")
    assert machine([("", "/")], [(top, "/", "")]) == dict.fromkeys(("memory", "pids", "tree"), (top, top))


def test_version_2_without_limits_still_ends_everything_at_once(machine: Machine, tmp_path: Path):
    top = second(tmp_path, "cpu", "cpu")
    own = second(tmp_path / "job", "", "cpu")
    assert machine([("", "/job")], [(top, "/", "")]) == {"tree": (own, own)}


def test_mixed_versions_complete_each_other(machine: Machine, tmp_path: Path):
    (tmp_path / "m").mkdir()
    top = second(tmp_path / "unified", "", "hugetlb")
    m = f"{tmp_path}/m"
    for mounts in ([(m, "/", "memory"), (top, "/", "")], [(top, "/", ""), (m, "/", "memory")]):
        assert machine([("memory", "/"), ("", "/")], mounts) == {"memory": (m, m), "tree": (top, top)}


def test_nothing_to_be_found(machine: Machine):
    assert machine([], []) == {}
    assert not NO_CAGE
    assert NO_CAGE.inside() == []
    assert NO_CAGE.remove()


@pytest.fixture
def two(tmp_path: Path) -> Cage:
    folder = second(tmp_path / "g")
    (tmp_path / "g" / "memory.max").touch()
    (tmp_path / "g" / "memory.events").write_text("low 0\nmax 7\noom 3\noom_kill 2\n")
    (tmp_path / "g" / "pids.events").write_text("max 5\n")
    (tmp_path / "g" / "memory.stat").write_text("anon 4096\nfile 999999\n")
    return Cage(folder, folder, folder)


def test_limits_of_version_2(two: Cage):
    two.offer()
    two.limit(1 << 20, 9)
    said = {
        name: (Path(two.memory) / name).read_text()
        for name in ("cgroup.subtree_control", "memory.max", "memory.swap.max", "memory.oom.group", "pids.max")
    }
    assert list(said.values()) == ["+memory +pids", "1048576", "0", "1", "9"]
    assert (two.memory_killed(), two.refused(), two.used()) == (2, 5, 4096)
    assert two.folders() == [two.memory]
    two.kill()
    assert (Path(two.tree) / "cgroup.kill").read_text() == "1"


def test_limits_of_version_1(tmp_path: Path):
    cage = Cage(str(tmp_path / "m"), str(tmp_path / "p"))
    cage.make()
    cage.limit(1 << 20, 9)
    for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
        assert (tmp_path / "m" / name).read_text() == "1048576"
    assert (tmp_path / "p" / "pids.max").read_text() == "9"
    (tmp_path / "m" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n")
    (tmp_path / "m" / "memory.stat").write_text("cache 99\nrss 10\ntotal_cache 99\ntotal_rss 8192\n")
    assert (cage.memory_killed(), cage.used()) == (4, 8192)


def test_a_limit_that_nothing_can_hold_is_left_to_others(tmp_path: Path):
    Cage(tree=str(tmp_path)).limit(1 << 20, 9)
    assert list(tmp_path.iterdir()) == []


def test_groups_in_groups_go_with_the_outermost(tmp_path: Path):
    """What was nested by a task, in one of the hierarchies only."""
    cage = Cage(str(tmp_path / "m"), str(tmp_path / "p"))
    cage.make()
    os.makedirs(f"{cage.memory}/1/2/3/4")
    os.makedirs(f"{cage.pids}/1/other")
    assert cage.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_groups_in_groups_ends(tmp_path: Path):
    deep = tmp_path / "p/1/2/3"
    deep.mkdir(parents=True)
    with subprocess.Popen(["sleep", "600"]) as sleeper:
        (deep / "cgroup.procs").write_text(f"{sleeper.pid}\n")
        Cage(pids=str(tmp_path / "p")).kill()
        try:
            assert sleeper.wait(30) == -signal.SIGKILL
        finally:
            sleeper.kill()


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where groups are."""
    monkeypatch.setattr(ground, "_mounts", lambda: iter([(str(tmp_path / "g"), "/", {""})]))
    return tmp_path / "g"


def test_an_executors_group_is_found_again_by_its_folder(tmp_path: Path, mounted: Path):
    cage = of_executor(Cage(str(mounted)), str(tmp_path))
    cage.below("0.1").make()
    record(tmp_path, cage)
    forget(tmp_path)
    assert not os.path.exists(cage.memory)
    forget(tmp_path)
    forget(tmp_path / "nowhere")


def test_a_group_that_a_task_has_written_down_is_not_believed(tmp_path: Path, mounted: Path):
    """Another's, one that is none, a way around, and what is no group at all."""
    mine = of_executor(Cage(str(mounted)), str(tmp_path)).memory
    other = of_executor(Cage(str(mounted)), str(tmp_path / "other")).memory
    away = of_executor(Cage(str(tmp_path / "away")), str(tmp_path)).memory
    for folder in (mine, other, away):
        os.makedirs(folder)
    os.symlink(tmp_path / "away", mounted / "link")
    around = f"{mounted}/link/{os.path.basename(mine)}"
    forged = [[one, "", ""] for one in (other, away, around, f"{mounted}/../away/{os.path.basename(mine)}", 7)]
    for words in (*forged, [mine, other, ""], [mine, ""], {"memory": mine}, mine, None):
        (tmp_path / "cage.json").write_text(json.dumps(words))
        forget(tmp_path)
    (tmp_path / "cage.json").write_text("[" * 60_000)
    forget(tmp_path)
    assert all(os.path.isdir(folder) for folder in (mine, other, away))


def test_a_pipe_in_its_place_holds_nobody(tmp_path: Path):
    os.mkfifo(tmp_path / "cage.json")
    forget(tmp_path)


def test_what_is_found_here_has_been_tried():
    """Nothing is left of the trial."""
    here = base()
    assert not [c.name for c in here.inside() if c.name.startswith("farm-try-")]
