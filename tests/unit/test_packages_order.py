"""Jobs of several pushes end in any order: the index and what is known hold what the last push wants."""

import subprocess
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import OperationalError

from farm import tables as t
from farm.context import open_farm
from farm.home import Home
from farm.hooks import GitEvent
from farm.model import JobState, TaskState
from farm.publisher import Publisher
from farm.queue.cancel import cancel
from farm.rebuilds import known, pushed, tree
from farm.reference import Reference
from farm.refusal import Refusal
from farm.workloads.packages import index, source
from tests.unit import test_packages_index
from tests.unit.test_packages_index import put

NOTHING, MAIN = "0" * 40, "refs/heads/main"
OWN = "def get_requires_for_build_wheel(config_settings=None):\n    return []\n"


@cache
def wheel(name: str, body: str) -> tuple[str, bytes]:
    """The same bytes again, though a wheel tells when it was packed."""
    return test_packages_index.wheel(name, body=body)


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, check=True).stdout.decode()


class Yard:
    """A farm on which nothing runs, a repository of `base` and `leaf` (built with base), and whoever ends jobs."""

    def __init__(self, folder: Path) -> None:
        self.farm, self.work = open_farm(Home(folder / "home")), folder / "work"
        self.publisher = Publisher(self.farm)
        self.publisher.start()
        for name, requires in {"base": [], "leaf": ["base"]}.items():
            (self.work / name).mkdir(parents=True)
            (self.work / name / "own.py").write_text(OWN)
            text = f'[build-system]\nrequires={requires!r}\nbuild-backend="own"\nbackend-path=["."]\n'
            (self.work / name / "pyproject.toml").write_text(f'{text}[project]\nname="{name}"\nversion="1"\n')
        git(self.work, "init", "--quiet")

    def close(self) -> None:
        self.publisher.stop()
        self.farm.close()

    def commit(self, **contents: str) -> str:
        for name, text in contents.items():
            (self.work / name / "x.py").write_text(text)
        git(self.work, "add", "--all")
        git(self.work, "commit", "--quiet", "--allow-empty", "--message", "x")
        return git(self.work, "rev-parse", "HEAD").strip()

    def event(self, old: str, new: str) -> GitEvent:
        return GitEvent(self.work / ".git", MAIN, old, new)

    def push(self, **contents: str) -> dict:
        return pushed(self.farm, self.event(NOTHING, self.commit(**contents)))

    def end(self, job: int, state: TaskState = TaskState.DONE, **contents: str) -> None:
        """These packages of the job are built, with wheels that hold this; the publisher has seen it."""
        with self.farm.db.write() as tx:
            for name, text in contents.items():
                ours = (t.Task.job == job) & (t.Task.name == name)
                outputs = [file.model_dump() for file in put(self.farm.store, wheel(name, body=text))]
                tx.execute(update(t.Task).where(ours).values(state=state, outputs=outputs))
            left = select(func.count()).where(t.Task.job == job, t.Task.state.not_in(["done", "skipped"]))
            if not tx.execute(left).scalar_one():
                tx.execute(update(t.Job).where(t.Job.id == job).values(state=JobState.DONE))
        self.farm.feed.accepted([(job, 1)])
        assert self.farm.published(60)

    def published(self, name: str) -> bytes | None:
        file = self.farm.home.index / name / f"{name}-1.0-py3-none-any.whl"
        return file.read_bytes() if file.exists() else None

    def agrees(self, **contents: str) -> bool:
        """Index and table hold these."""
        table = known(self.farm)
        digests = {name: put(self.farm.store, wheel(name, body=text))[0].digest for name, text in contents.items()}
        return all(
            self.published(name) == wheel(name, body=text)[1] and table[name].outputs[0].digest == digests[name]
            for name, text in contents.items()
        )


@pytest.fixture
def yard(tmp_path):
    made = Yard(tmp_path)
    yield made
    made.close()


@pytest.fixture
def first(yard):
    """Both are built with 1 in them."""
    yard.end(yard.push(base="1", leaf="1")["id"], base="1", leaf="1")
    return yard


def test_a_job_that_ends_after_a_newer_one_publishes_nothing_over_it(first):
    older, newer = first.push(leaf="3")["id"], first.push(leaf="4")["id"]
    first.end(newer, leaf="4")
    first.end(older, leaf="3")
    assert first.agrees(base="1", leaf="4")
    assert first.push()["why"] == "nothing to build: 2 packages as built before"


def test_jobs_that_end_in_order_publish_each(first):
    older, newer = first.push(leaf="3")["id"], first.push(leaf="4")["id"]
    first.end(older, leaf="3")
    assert first.agrees(leaf="3")
    first.end(newer, leaf="4")
    assert first.agrees(base="1", leaf="4")


def test_of_an_older_job_only_what_no_newer_one_built_is_published(yard):
    older = yard.push(base="1", leaf="1")["id"]
    newer = yard.push(leaf="2")["id"]
    yard.end(newer, base="1 again")
    yard.end(older, base="1", leaf="1")
    assert yard.agrees(base="1 again", leaf="1")
    yard.end(newer, leaf="2")
    assert yard.agrees(base="1 again", leaf="2")


def test_what_was_accepted_by_a_commit_whose_answer_was_lost_is_published(yard, monkeypatch):
    job, commit = yard.push(base="1", leaf="1")["id"], Connection.commit

    def cut(connection):
        commit(connection)
        raise OperationalError("COMMIT", {}, Exception("the connection was cut"))

    with monkeypatch.context() as broken:
        broken.setattr(Connection, "commit", cut)
        with pytest.raises(OperationalError):
            yard.end(job, base="1", leaf="1")
    assert yard.farm.published(60)
    assert yard.agrees(base="1", leaf="1")


def test_a_push_back_while_the_change_is_built_keeps_what_was_there(first):
    older = first.push(leaf="2")["id"]
    back = first.push(leaf="1")
    assert back["why"] == (
        "nothing to build: 2 packages as built before; leaf stays so, whatever older jobs still bring"
    )
    assert known(first.farm)["leaf"].contested is False
    first.end(older, leaf="2")
    assert first.agrees(base="1", leaf="1")
    assert first.push()["why"] == "nothing to build: 2 packages as built before"
    with first.farm.db.read() as tx:
        assert tx.execute(select(t.Job.state).where(t.Job.id == back["id"])).scalar_one() == JobState.DONE


def test_a_push_back_that_saw_the_old_job_wins_though_that_is_published_first(first):
    first.publisher.stop()
    older = first.push(leaf="2")["id"]
    first.push(leaf="1")  # nobody publishes yet
    first.farm.feed.accepted = lambda _tasks: None
    first.publisher = Publisher(first.farm)
    with first.farm.db.write() as tx:
        outputs = [file.model_dump() for file in put(first.farm.store, wheel("leaf", body="2"))]
        tx.execute(update(t.Task).where(t.Task.job == older).values(state=TaskState.DONE, outputs=outputs))
    first.publisher.start()
    assert first.farm.published(60)
    assert first.agrees(leaf="1")


def test_a_push_back_holds_whatever_becomes_of_the_older_job(first):
    older = first.push(leaf="2")["id"]
    first.push(leaf="1")
    with first.farm.db.write() as tx:
        cancel(tx, Reference(older), first.farm.clock.now())
    assert first.push()["why"] == "nothing to build: 2 packages as built before"
    first.end(older, leaf="2")  # a retry
    assert first.agrees(base="1", leaf="1")


def test_a_push_back_of_what_others_are_built_with_keeps_those_too(first):
    older = first.push(base="2")["id"]
    first.push(base="1")
    first.end(older, base="2", leaf="1 with 2")
    assert first.agrees(base="1", leaf="1")
    assert first.push()["why"] == "nothing to build: 2 packages as built before"


def test_a_rebuild_of_the_tree_keeps_what_was_there_too(first):
    older = first.push(leaf="2")["id"]
    first.commit(leaf="1")
    assert tree(first.farm, str(first.work), "", "", {"owner": "ann"})["id"] > older
    first.end(older, leaf="2")
    assert first.agrees(base="1", leaf="1")


def test_what_was_published_before_a_crash_but_not_noted_is_noted_at_the_next_start(first, monkeypatch):
    job = first.push(leaf="2")["id"]
    with monkeypatch.context() as broken:
        broken.setattr(first.publisher, "_write", lambda *_: 1 / 0)
        first.end(job, leaf="2")
    assert first.published("leaf") == wheel("leaf", body="2")[1]
    first.publisher.stop()
    first.publisher = Publisher(first.farm)
    first.publisher.start()
    assert first.agrees(leaf="2")


def test_what_was_not_published_before_a_crash_is_not_noted(first, monkeypatch):
    job = first.push(leaf="2")["id"]
    with monkeypatch.context() as broken:
        broken.setattr(index, "publish", lambda *_: 1 / 0)
        first.end(job, leaf="2")
    assert first.agrees(leaf="1")
    first.publisher.stop()
    first.publisher = Publisher(first.farm)
    first.publisher.start()
    assert first.farm.published(60)
    assert first.agrees(leaf="2")


def test_the_same_push_told_twice_is_one_but_made_again_it_is_another(first):
    one = git(first.work, "rev-parse", "HEAD").strip()
    two = first.commit(leaf="2")
    there, back = first.event(one, two), first.event(two, one)
    job = pushed(first.farm, there)["id"]
    assert pushed(first.farm, there)["id"] == job
    git(first.work, "reset", "--quiet", "--hard", one)
    pushed(first.farm, back)
    assert pushed(first.farm, there)["id"] == job  # its hook and its spool both tell
    git(first.work, "reset", "--quiet", "--hard", two)
    again = pushed(first.farm, there)["id"]
    assert again > job
    first.end(again, leaf="2")
    first.end(job, leaf="2 of the older")
    assert first.agrees(leaf="2")


def test_a_push_that_is_told_after_a_later_one_builds_nothing(first):
    older, newer = first.commit(leaf="3"), first.commit(leaf="4")
    job = pushed(first.farm, first.event(older, newer))["id"]
    first.end(job, leaf="4")
    late = pushed(first.farm, first.event(NOTHING, older))
    assert late["id"] is None
    assert late["why"] == f"nothing to build: {MAIN} is at {newer[:8]} by now, and that was taken"


def test_a_push_that_is_told_before_a_later_one_is_built(first):
    older, newer = first.commit(leaf="3"), first.commit(leaf="4")
    assert pushed(first.farm, first.event(NOTHING, older))["id"] < pushed(first.farm, first.event(older, newer))["id"]


def test_a_tree_that_is_too_large_is_not_walked_to_its_end(first, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MOST", 20)
    (tmp_path / "large").mkdir()
    for number in range(19):
        (tmp_path / "large" / f"{number}").write_text("")
    (tmp_path / "large" / "folder" / "below").mkdir(parents=True)
    monkeypatch.setattr(source, "_contents", lambda _path: pytest.fail("it was read"))
    with pytest.raises(Refusal, match="large holds more than 20 files and folders"):
        tree(first.farm, str(tmp_path / "large"), "", "", {"owner": "ann"})
