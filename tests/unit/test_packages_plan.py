"""What a push makes necessary, given what was built before."""

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from farm.model import File
from farm.workloads.packages.plan import PROGRAM, Built, Wish, plan_rebuild, plan_tree, remember

OWN = "def get_requires_for_build_wheel(config_settings=None):\n    return []\n"
NOTHING = "0" * 40
CHAIN = {"base": [], "middle": ["base"], "leaf": ["middle"], "apart": []}


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, check=True).stdout.decode()


def commit(folder: Path, **packages: list[str]) -> str:
    """Packages with what each needs to be built; returns the commit."""
    for name, requires in packages.items():
        (folder / name).mkdir(exist_ok=True, parents=True)
        (folder / name / "own.py").write_text(OWN)
        text = f'[build-system]\nrequires={requires!r}\nbuild-backend="own"\nbackend-path=["."]\n'
        (folder / name / "pyproject.toml").write_text(f'{text}[project]\nname="{name}"\nversion="1"\n')
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "x")
    return git(folder, "rev-parse", "HEAD").strip()


def edit(folder: Path, *names: str) -> str:
    for name in names:
        with (folder / name / "own.py").open("a") as file:
            file.write("# comment\n")
    return commit(folder)


class Shelf(dict):
    """A content store in memory."""

    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self[digest] = data
        return digest


@pytest.fixture
def shelf():
    return Shelf()


@pytest.fixture
def wish(tmp_path, shelf):
    return Wish("ann", shelf.put, tmp_path / "cache")


@pytest.fixture
def tree(tmp_path):
    commit(tmp_path / "tree", **CHAIN)
    return tmp_path / "tree"


def wheel(name: str, content: str = "1") -> File:
    data = f"{name} {content}".encode()
    return File(path=f"dist/{name}-1-py3-none-any.whl", digest=hashlib.sha256(data).hexdigest(), size=len(data))


def push(tree: Path, built: dict[str, Built], wish: Wish, **more):
    return plan_rebuild(tree, "refs/heads/main", more.pop("old", NOTHING), more.pop("new", "HEAD"), built, wish, **more)


def finish(plan, built, content=None):
    """All items end well; `content` names those whose wheels come out new."""
    outputs = {}
    for item in plan.job.steps[0].items:
        same = item.previous and item.name not in (content or {})
        outputs[item.name] = item.previous if same else (wheel(item.name, (content or {}).get(item.name, "1")),)
    return remember(plan.job, outputs, built)


def shown(plan) -> dict[str, tuple[bool, tuple[str, ...]]]:
    return {item.name: (item.changed, item.after) for item in plan.job.steps[0].items}


def test_the_first_push_builds_everything_in_order(tree, wish, shelf):
    plan = push(tree, {}, wish)
    assert shown(plan) == {
        "apart": (True, ()),
        "base": (True, ()),
        "middle": (True, ("base",)),
        "leaf": (True, ("middle",)),
    }
    assert plan.why.startswith("4 of 4 packages to build: apart, base, leaf, middle")
    job, step = plan.job, plan.job.steps[0]
    assert (job.kind, job.owner, step.gather, step.outputs) == ("packages", "ann", "wheels", ("dist/*.whl",))
    assert job.extra["commit"] == git(tree, "rev-parse", "HEAD").strip()
    assert step.items[0].argv[:2] == ("{python}", "build.py")
    assert shelf[step.inputs[0].digest] == PROGRAM.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(shelf[step.items[0].inputs[0].digest])) as packed:
        assert packed.getnames() == ["own.py", "pyproject.toml"]


def test_the_same_tree_again_builds_nothing(tree, wish):
    built = finish(push(tree, {}, wish), {})
    plan = push(tree, built, wish)
    assert plan.job is None
    assert not plan.refused
    assert plan.why == "nothing to build: 4 packages as built before"
    git(tree, "commit", "--quiet", "--allow-empty", "--message", "another commit, same tree")
    assert push(tree, built, wish).job is None


def test_a_changed_leaf_is_built_alone_with_the_wheels_it_needs(tree, wish):
    built = finish(push(tree, {}, wish), {})
    edit(tree, "leaf")
    plan = push(tree, built, wish)
    assert shown(plan) == {"leaf": (True, ())}
    (item,) = plan.job.steps[0].items
    assert [f.path for f in item.inputs] == ["source.tar", "wheels/middle-1-py3-none-any.whl"]
    assert item.inputs[1].digest == wheel("middle").digest
    assert item.previous == (wheel("leaf"),)


def test_what_comes_after_a_change_is_planned_to_be_skipped(tree, wish):
    built = finish(push(tree, {}, wish), {})
    edit(tree, "base")
    plan = push(tree, built, wish)
    assert shown(plan) == {"base": (True, ()), "middle": (False, ("base",)), "leaf": (False, ("middle",))}
    assert plan.why == "1 of 4 packages to build: base; 2 built with them, skipped where nothing new arrives"
    after = finish(plan, built)
    assert push(tree, after, wish).job is None


def test_new_output_is_remembered_by_those_built_with_it(tree, wish):
    built = finish(push(tree, {}, wish), {})
    edit(tree, "base")
    after = finish(push(tree, built, wish), built, {"base": "2", "middle": "2"})
    assert push(tree, after, wish).job is None
    assert after["middle"].environment != built["middle"].environment
    assert after["apart"] == built["apart"]


def test_a_build_that_failed_is_tried_again_though_its_source_is_the_same(tree, wish):
    built = finish(push(tree, {}, wish), {})
    edit(tree, "base")
    plan = push(tree, built, wish)
    partly = remember(plan.job, {"base": (wheel("base", "2"),)}, built)
    again = push(tree, partly, wish)
    assert shown(again) == {"middle": (True, ()), "leaf": (False, ("middle",))}
    assert again.job.steps[0].items[0].inputs[1].digest == wheel("base", "2").digest


def test_another_python_or_program_builds_everything_again(tree, wish, tmp_path, shelf):
    built = finish(push(tree, {}, wish), {})
    other = Wish("ann", shelf.put, tmp_path / "cache", python="cpython-399-elsewhere")
    assert {name: changed for name, (changed, _) in shown(push(tree, built, other)).items()} == dict.fromkeys(
        CHAIN, True
    )


def test_a_narrow_plan_takes_what_the_commits_touch_and_what_that_needs(tree, wish):
    old = git(tree, "rev-parse", "HEAD").strip()
    edit(tree, "middle")
    plan = push(tree, {}, wish, old=old, narrow=True)
    assert list(shown(plan)) == ["base", "middle", "leaf"]
    built = finish(push(tree, {}, wish, new=old), {})
    plan = push(tree, built, wish, old=old, narrow=True)
    assert shown(plan) == {"middle": (True, ()), "leaf": (False, ("middle",))}
    same = push(tree, built, wish, old="HEAD", narrow=True)
    assert same.job is None


def test_a_folder_of_a_checkout_can_be_rebuilt_by_what_changed_in_it(tmp_path, wish):
    commit(tmp_path / "all" / "one", **CHAIN)
    subprocess.run(["mv", str(tmp_path / "all/one/.git"), str(tmp_path / "all")], check=True)
    old = commit(tmp_path / "all", **{"two/other": []})
    for name in ("one/leaf", "two/other"):
        edit(tmp_path / "all", name)
    plan = push(tmp_path / "all" / "one", {}, wish, old=old, narrow=True)
    assert list(shown(plan)) == ["base", "middle", "leaf"]


def test_a_push_that_removes_a_needed_package_is_refused_by_name(tree, wish):
    git(tree, "rm", "-r", "--quiet", "base")
    git(tree, "commit", "--quiet", "--message", "x")
    plan = push(tree, {}, wish)
    assert (plan.job, plan.refused) == (None, True)
    assert "middle needs base, which is not in the tree" in plan.why


@pytest.mark.parametrize(
    ("new", "refused", "told"),
    [(NOTHING, False, "was deleted"), ("1" * 40, True, "no commit"), ("no-such-branch", True, "no commit")],
)
def test_pushes_without_a_commit(tree, wish, new, refused, told):
    plan = push(tree, {}, wish, new=new)
    assert (plan.job, plan.refused) == (None, refused)
    assert told in plan.why


def test_a_plain_folder_and_a_checkout_give_the_same_builds(tree, wish, tmp_path):
    plain = tmp_path / "plain"
    subprocess.run(["cp", "-r", str(tree), str(plain)], check=True)
    subprocess.run(["rm", "-rf", str(plain / ".git")], check=True)
    one, two, three = plan_tree(plain, {}, wish), plan_tree(tree, {}, wish), push(tree, {}, wish)
    assert one.job.steps == two.job.steps == three.job.steps
    assert "as it is now" in one.notes[0]
    assert "not the edits since" in two.notes[0]


def test_a_folder_without_packages_is_refused(tmp_path, wish):
    (tmp_path / "empty").mkdir()
    plan = plan_tree(tmp_path / "empty", {}, wish)
    assert plan.refused
    assert "no package here" in plan.why


def test_limits_hold_for_every_build(tmp_path):
    commit(tmp_path / "r", **CHAIN)
    limits = {"silence_s": 60.0, "memory": 1 << 30}
    plan = plan_tree(
        tmp_path / "r", {}, Wish("ann", lambda data: hashlib.sha256(data).hexdigest(), tmp_path, limits=limits)
    )
    step = plan.job.steps[0]
    assert (step.silence_s, step.memory, step.timeout_s) == (60, 1 << 30, 3600)
    other = Wish("ann", lambda data: hashlib.sha256(data).hexdigest(), tmp_path, limits={"timeout_s": 5.0})
    assert plan_tree(tmp_path / "r", {}, other).job.steps[0].timeout_s == 5
