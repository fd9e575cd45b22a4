"""The hook, run by real pushes, and the spool it fills."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from farm.home import Home
from farm.hooks import BEFORE, checked, done, install, read_spool, spool
from farm.refusal import Refusal

OLD, NEW = "1" * 40, "a" * 40


def git(folder: Path, *words: str) -> subprocess.CompletedProcess:
    who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def program(folder: Path, body: str) -> str:
    """What stands for `farm` in the hook: a script that notes its arguments and its stdin."""
    path = folder / "farm program"
    path.write_text(f'#!/bin/sh\necho "$@" > "{folder}/arguments"\ncat > "{folder}/told"\n{body}\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "its home")


@pytest.fixture
def bare(tmp_path):
    git(tmp_path, "init", "--quiet", "--bare", 'in "quotes".git')
    return tmp_path / 'in "quotes".git'


@pytest.fixture
def work(tmp_path, bare):
    git(tmp_path, "init", "--quiet", "work")
    git(tmp_path / "work", "commit", "--quiet", "--allow-empty", "--message", "x")
    return tmp_path / "work"


def push(work: Path, bare: Path, *refs: str) -> str:
    return git(work, "push", str(bare), *(refs or ("HEAD:refs/heads/main",))).stderr


def run(hook: Path, lines: str, **environment: str) -> subprocess.CompletedProcess:
    env = {**os.environ, **environment}
    return subprocess.run(
        [hook], input=lines, cwd=hook.parent.parent, env=env, capture_output=True, text=True, check=False
    )


def test_a_push_tells_the_farm_and_prints_its_answer(tmp_path, home, bare, work):
    install(bare, home, program(tmp_path, 'echo "job 7: 2 packages to build"'))
    said = push(work, bare)
    assert "farm: job 7: 2 packages to build" in said
    new = git(work, "rev-parse", "HEAD").stdout.strip()
    assert (tmp_path / "told").read_text() == f"{'0' * 40} {new} refs/heads/main\n"
    assert (tmp_path / "arguments").read_text().strip() == f"event {bare} --home {home.path}"
    assert read_spool(home) == []


def test_a_push_without_a_farm_is_spooled(tmp_path, home, bare, work):
    install(bare, home, str(tmp_path / "no such program"))
    said = push(work, bare, "HEAD:refs/heads/main", 'HEAD:refs/heads/with"quote')
    assert "farm: noted; the farm takes it up when it runs" in said
    events = read_spool(home)
    assert [event.ref for event in events] == ["refs/heads/main", 'refs/heads/with"quote']
    assert {event.repository for event in events} == {bare}
    assert {event.new for event in events} == {git(work, "rev-parse", "HEAD").stdout.strip()}
    done(events[0])
    done(events[0])
    assert [event.ref for event in read_spool(home)] == ['refs/heads/with"quote']


def test_a_farm_that_does_not_answer_holds_no_push_up(tmp_path, home, bare):
    stuck = install(bare, home, program(tmp_path, "exec sleep 60"))
    done = run(stuck, f"{OLD} {NEW} refs/heads/main\n", FARM_HOOK_WAIT_S="0.3")
    assert done.returncode == 0
    assert "farm: noted; the farm is at it" in done.stderr
    assert len(read_spool(home)) == 1


def test_a_refusal_reaches_the_one_who_pushes(tmp_path, home, bare, work):
    install(bare, home, program(tmp_path, 'echo "farm: a needs b, which is not in the tree" >&2; exit 2'))
    said = push(work, bare)
    assert "farm: a needs b, which is not in the tree" in said
    assert "farm: farm:" not in said
    assert len(read_spool(home)) == 1


def test_nonsense_is_told_and_passed_over(tmp_path, home, bare):
    hook = install(bare, home, str(tmp_path / "absent"))
    lines = [
        "what is this",
        f"{OLD} {NEW} no-ref",
        f"{OLD[:-1]}G {NEW} refs/heads/main",
        f"{OLD} {NEW} refs/heads/good",
    ]
    done = run(hook, "\n".join(lines) + "\n")
    assert done.returncode == 0
    assert done.stderr.count("is no line of post-receive: passed over") == 3
    assert [event.ref for event in read_spool(home)] == ["refs/heads/good"]


def test_a_spool_that_cannot_be_written_fails_no_push(tmp_path, home, bare, work):
    install(bare, home, str(tmp_path / "absent"))
    spool(home).rmdir()
    spool(home).write_text("a file in the way")
    said = push(work, bare)
    assert "could not be noted" in said
    assert f"farm rebuild {bare}" in said


def test_the_hook_that_was_there_still_runs(tmp_path, home, bare, work):
    before = bare / "hooks" / "post-receive"
    before.write_text(f'#!/bin/sh\ncat > "{tmp_path}/seen"\necho from before\nexit 3\n')
    before.chmod(0o755)
    for _ in range(2):
        assert install(bare, home, str(tmp_path / "absent")) == before
    assert "from before" in push(work, bare)
    assert (tmp_path / "seen").read_text().endswith(" refs/heads/main\n")
    assert (bare / "hooks" / BEFORE).read_text().endswith("exit 3\n")
    assert len(read_spool(home)) == 1


def test_a_second_foreign_hook_is_not_lost(tmp_path, home, bare):
    hook = install(bare, home, "farm")
    (bare / "hooks" / BEFORE).write_text("one")
    hook.write_text("another")
    with pytest.raises(Refusal, match="is not the farm's"):
        install(bare, home, "farm")
    assert hook.read_text() == "another"


def test_a_repository_with_a_work_tree_gets_the_hook_in_its_git_folder(home, work):
    hook = install(work, home, "farm")
    assert hook == work / ".git" / "hooks" / "post-receive"
    assert os.access(hook, os.X_OK)
    run(hook, f"{OLD} {NEW} refs/heads/main\n")
    assert [event.repository for event in read_spool(home)] == [work / ".git"]


def test_hooks_that_others_share_are_left_alone(tmp_path, home, bare):
    git(bare, "config", "core.hooksPath", str(tmp_path / "shared"))
    with pytest.raises(Refusal, match="other repositories may share"):
        install(bare, home, "farm")
    assert not (tmp_path / "shared").exists()


def test_what_is_no_repository_gets_no_hook(tmp_path, home):
    with pytest.raises(Refusal, match="no git repository"):
        install(tmp_path, home, "farm")


def told(repository: Path, **changes: str) -> dict:
    return {"repository": str(repository), "ref": "refs/heads/main", "old": OLD, "new": NEW} | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"old": "1" * 39},
        {"new": "--upload-pack=x" + "1" * 25},
        {"new": None},
        {"ref": "main"},
        {"ref": "refs/heads/../../x"},
        {"ref": "refs/heads/a b"},
        {"ref": "refs/heads/x.lock"},
        {"ref": "refs/heads/x\n"},
        {"repository": "/absent"},
        {"repository": "relative"},
        {"extra": "x"},
    ],
)
def test_events_from_outside_are_checked(bare, changes):
    assert checked(told(bare)).ref == "refs/heads/main"
    with pytest.raises(Refusal):
        checked(told(bare) | changes)


def test_a_bad_file_in_the_spool_is_put_aside(home, bare, caplog):
    spool(home).mkdir(parents=True)
    (spool(home) / "1.json").write_text("not JSON")
    (spool(home) / "2.json").write_text(json.dumps(told(bare, old="x")))
    (spool(home) / "3.json").write_text(json.dumps(told(bare)))
    (spool(home) / "4.json").write_text("[]")
    assert [event.spooled.name for event in read_spool(home)] == ["3.json"]
    assert sorted(path.name for path in (spool(home) / "bad").iterdir()) == ["1.json", "2.json", "4.json"]
    assert caplog.text.count("is put aside") == 3
