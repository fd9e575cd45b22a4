"""Pushes and trees on one machine, built by a farm on another one."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.yard import eventually
from tests.journeys.backend import BACKEND
from tests.journeys.far import SETTINGS, Far, Near, near

PROJECT = '[build-system]\nrequires=[]\nbuild-backend="own"\nbackend-path=["."]\n[project]\nname="{}"\nversion="1"\n'


@pytest.fixture(scope="module")
def farm() -> Iterator[Near]:
    with near(SETTINGS) as made:
        yield made


class Desk:
    """A checkout of one package, and a bare repository whose hook tells the farm."""

    def __init__(self, far: Far, folder: Path, name: str) -> None:
        self.far, self.name, self.work, self.bare = far, name, folder / "work", folder / f"{name}.git"
        (self.work / name).mkdir(parents=True)
        (self.work / name / "own.py").write_text(BACKEND % {"name": name})
        (self.work / name / "pyproject.toml").write_text(PROJECT.format(name))
        self.git("init", "--quiet")
        self.git("init", "--quiet", "--bare", str(self.bare))

    def git(self, *words: str, **env: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
        argv = ["git", "-C", str(self.work), *who, *words]
        env = {**self.far.env, **env}
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def change(self, text: str) -> None:
        (self.work / self.name / f"{self.name}.py").write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "x")

    def push(self, text: str, **env: str) -> str:
        """What the hook says."""
        self.change(text)
        return self.git("push", str(self.bare), "HEAD:refs/heads/main", FARM_HOOK_WAIT_S="100", **env)

    def spooled(self) -> list[dict[str, str]]:
        return [json.loads(path.read_text()) for path in sorted((self.bare / "farm" / "spool").glob("*.json"))]


@pytest.fixture
def desk(farm, tmp_path, request) -> Desk:
    return Desk(farm.far, tmp_path, request.function.__name__.split("_")[1])


def built(farm: Near, name: str) -> bytes:
    return (farm.home.path / "index" / "simple" / name / f"{name}-1-py3-none-any.whl").read_bytes()


def test_pushes_bring_their_sources_and_are_built(farm, desk):
    assert "at http://localhost" in desk.far("hook", "install", str(desk.bare))
    said = desk.push("x = 1\n")
    assert "farm: job " in said
    assert "1 of 1 package to build: pushes" in said
    job = said.partition("farm: job ")[2].partition(":")[0]
    desk.far("wait", job)
    assert b"x = 1" in built(farm, "pushes")
    assert "nothing to build: 1 package as built before" in desk.push("x = 1\n")
    assert desk.spooled() == []
    assert (desk.bare / "farm").stat().st_mode & 0o077 == 0
    assert (desk.bare / "farm" / "login.json").stat().st_mode & 0o077 == 0
    hook = (desk.bare / "hooks" / "post-receive").read_text()
    assert farm.home.token() not in hook
    assert desk.far.json("show", job)["extra"]["ref"] == "refs/heads/main"
    desk.git("push", str(desk.bare), "HEAD:refs/heads/aside", FARM_HOOK_WAIT_S="100")
    said = desk.git("push", str(desk.bare), ":refs/heads/aside", FARM_HOOK_WAIT_S="100")
    assert "refs/heads/aside was deleted: nothing to build" in said


def test_away_farms_hold_no_push_up_and_hear_of_it_later(farm, desk):
    desk.far("hook", "install", str(desk.bare))
    farm.proxy.cut()
    said = desk.push("x = 1\n", FARM_PATIENCE="0.1s")
    assert "noted; it is sent with the next push" in said
    desk.push("x = 2\n", FARM_PATIENCE="0.1s")
    assert [event["ref"] for event in desk.spooled()] == ["refs/heads/main"] * 2
    farm.proxy.mend()
    events = desk.far.json("hook", "send", str(desk.bare))["events"]
    assert len(events) == 2
    assert desk.spooled() == []
    for event in events:
        if event["id"]:
            desk.far("wait", str(event["id"]))
    assert b"x = 2" in built(farm, "away")


def test_soon_is_not_now_and_the_push_goes_home_before(farm, desk):
    """What was begun goes on in the background, and takes what comes meanwhile."""
    desk.far("hook", "install", str(desk.bare))
    farm.proxy.cut()
    desk.change("x = 1\n")
    said = desk.git("push", str(desk.bare), "HEAD:refs/heads/main", FARM_HOOK_WAIT_S="0.5", FARM_PATIENCE="100s")
    assert "noted; it is on its way to the farm" in said
    assert len(desk.spooled()) == 1
    farm.proxy.mend()
    eventually(lambda: desk.spooled() == [])
    eventually(lambda: "1 of 1 package to build: soon" in (desk.bare / "farm" / "log").read_text())


def test_refused_pushes_are_put_aside_and_told(farm, desk):
    desk.far("hook", "install", str(desk.bare))
    (desk.work / "refused" / "pyproject.toml").write_text("[project\n")
    assert "pyproject.toml" in desk.push("x = 1\n")
    assert desk.spooled() == []
    assert len(list((desk.bare / "farm" / "spool" / "bad").iterdir())) == 1


def test_tokens_that_are_no_good_any_more_lose_no_push(farm, desk):
    desk.far("hook", "install", str(desk.bare))
    login = desk.bare / "farm" / "login.json"
    good = login.read_text()
    login.write_text(good.replace(farm.home.token(), "farm_0123456789_" + "x" * 43))
    said = desk.push("x = 1\n")
    assert "token" in said
    assert "farm_0123456789" not in said
    assert len(desk.spooled()) == 1
    login.write_text(good)
    assert "1 of 1 package to build: tokens" in desk.far("hook", "send", str(desk.bare))


def sent(farm: Near, desk: Desk, text: str) -> dict:
    """What the farm answers to a push that was kept for it."""
    farm.proxy.cut()
    desk.push(text, FARM_PATIENCE="0.1s")
    farm.proxy.mend()
    (answer,) = desk.far.json("hook", "send", str(desk.bare))["events"]
    desk.far("wait", str(answer["id"]))
    return answer


def test_backends_of_what_is_pushed_are_asked_only_where_that_was_allowed(farm, desk, tmp_path):
    own, marker = desk.work / "backends" / "own.py", tmp_path / "ran"
    hook = (
        f"\n\ndef get_requires_for_build_wheel(settings=None):\n    open({str(marker)!r}, 'w').close()\n    return []\n"
    )
    own.write_text(own.read_text() + hook)
    desk.far("hook", "install", str(desk.bare))
    assert sent(farm, desk, "x = 1\n")["notes"] == ["backends: its backend was not asked"]
    marker.unlink(missing_ok=True)  # its build may have asked it, on an executor
    desk.far("hook", "install", str(desk.bare), "--ask-backends")
    assert sent(farm, desk, "x = 2\n")["notes"] == []
    assert marker.exists()


def test_trees_are_rebuilt_there_and_their_wheels_come_here(farm, desk):
    desk.change("x = 1\n")
    desk.far("rebuild", str(desk.work), "--fetch", str(desk.work / "wheels"))
    assert "built from commit" in desk.far.err
    (wheel,) = (desk.work / "wheels").rglob("*.whl")
    assert b"x = 1" in wheel.read_bytes()
    posts = farm.proxy.asked(b"/v1/store/pack")
    desk.far("rebuild", str(desk.work))
    assert "nothing to build" in desk.far.err
    assert farm.proxy.asked(b"/v1/store/pack") == posts, "what the farm has is not sent again"
    desk.change("x = 2\n")
    desk.far("rebuild", str(desk.work), "--changed", "HEAD~1..HEAD", "--wait")
    assert b"x = 2" in built(farm, "trees")
    (desk.work / "plain").mkdir()
    plain = desk.work.parent / "plain"
    plain.mkdir()
    (plain / "own.py").write_text(BACKEND % {"name": "plain"})
    (plain / "pyproject.toml").write_text(PROJECT.format("plain"))
    (plain / "plain.py").write_text("y = 1\n")
    desk.far("rebuild", str(plain), "--wait")
    assert "the folder as it is now" in desk.far.err
    assert b"y = 1" in built(farm, "plain")
