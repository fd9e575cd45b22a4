"""Trees of sources: what is a package, what it needs, what is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from farm.changes import Entry, Repository, content_hash, safe_path, touched
from farm.refusal import Refusal
from farm.workloads.packages.graph import build_order, read_graph
from farm.workloads.packages.pack import pack
from farm.workloads.packages.package import read_packages
from farm.workloads.packages.source import FolderTree, GitTree, open_tree

BACKEND = """
def get_requires_for_build_wheel(config_settings=None):
    return {asks!r}
"""


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def project(name: str, requires: list[str] = (), dependencies: list[str] = (), version: str = "1.0", asks=None) -> dict:
    text = f"[build-system]\nrequires = {list(requires)!r}\n"
    files = {}
    if asks is not None:
        text += 'build-backend = "own"\nbackend-path = ["."]\n'
        files[f"{name}/own.py"] = BACKEND.format(asks=asks)
    text += f"[project]\nname = {name!r}\nversion = {version!r}\ndependencies = {list(dependencies)!r}\n"
    return {f"{name}/pyproject.toml": text, **files}


def git(folder: Path, *words: str, given: bytes = b"") -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", "-C", str(folder), *who, *words], input=given, capture_output=True, check=True)
    return done.stdout.decode().strip()


def commit(folder: Path) -> str:
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "x")
    return git(folder, "rev-parse", "HEAD")


def graph_of(folder: Path, *projects: dict, cache: Path | None = None):
    tree = FolderTree(write(folder / "tree", {k: v for p in projects for k, v in p.items()}))
    return read_graph(tree, read_packages(tree), cache or folder / "cache")


def test_edges_are_declared_requirements_and_what_those_need_to_run(tmp_path):
    graph = graph_of(
        tmp_path,
        project("base", asks=[]),
        project("tool", ["base"], ["lib[fast]", "absent; python_version < '3'"], asks=[]),
        project("lib", ["base"], asks=[]) | project("speed", ["base"], asks=[]),
        project("app", ["tool>=1"], asks=[]),
        {
            "lib/pyproject.toml": '[build-system]\nrequires=["base"]\nbuild-backend="own"\nbackend-path=["."]\n'
            '[project]\nname="lib"\nversion="1"\n'
            "[project.optional-dependencies]\nfast=[\"speed; python_version > '3'\"]\n"
        },
    )
    assert graph.edges == {
        "base": (),
        "tool": ("base",),
        "lib": ("base",),
        "speed": ("base",),
        "app": ("lib", "speed", "tool"),
    }
    assert all(graph.order.index(need) < graph.order.index(name) for name in graph.edges for need in graph.edges[name])
    assert graph.dependants({"base"}) == {"tool", "lib", "speed", "app"}
    assert graph.prerequisites({"app"}) == {"lib", "speed", "tool", "base"}


def test_a_backend_is_asked_once_for_the_same_sources(tmp_path):
    log = tmp_path / "asked"
    counting = f"open({str(log)!r}, 'a').write('x')\n" + BACKEND.format(asks=["other"])
    files = project("other", asks=[]) | project("curious", asks=[]) | {"curious/own.py": counting}
    for _ in range(2):
        assert graph_of(tmp_path, files).edges["curious"] == ("other",)
    assert log.read_text() == "x"
    graph_of(tmp_path, files | {"curious/readme": "new"})
    assert log.read_text() == "xx"


def test_a_backend_comes_from_the_tree_and_not_from_the_farms_own_packages(tmp_path):
    (made,) = [p for p in sys.path if (Path(p) / "pydantic").is_dir()][:1] or [""]
    assert made, "the farm itself can import pydantic"
    own = "import pydantic\n" + BACKEND.format(asks=[])
    borrowed = {"maker/maker.py": BACKEND.format(asks=["extra"])}
    user = {
        "user/pyproject.toml": '[build-system]\nrequires=["maker"]\nbuild-backend="maker"\n[project]\nname="user"\n'
    }
    graph = graph_of(
        tmp_path,
        project("nosy", asks=[]) | {"nosy/own.py": own},
        project("maker", asks=[]) | borrowed | project("extra", asks=[]) | user,
    )
    assert graph.edges["user"] == ("extra", "maker")
    assert graph.edges["nosy"] == ()
    assert len(graph.notes) == 1
    assert "nosy: own" in graph.notes[0]
    assert "pydantic" in graph.notes[0]


def test_what_the_tree_cannot_meet_is_named(tmp_path):
    wants = ["absent>=2", "old>=9", "far @ file:///far.whl"]
    with pytest.raises(Refusal) as caught:
        graph_of(tmp_path, project("old", version="1.5", asks=[]), project("app", wants, asks=[]))
    told = str(caught.value)
    assert "app needs absent>=2, which is not in the tree" in told
    assert "app needs old>=9, but the tree has 1.5" in told
    assert "app needs far from an address" in told


def test_a_circle_is_named(tmp_path):
    with pytest.raises(Refusal, match=r"(a needs b needs a|b needs a needs b)"):
        graph_of(tmp_path, project("a", ["b"], asks=[]), project("b", ["a"], asks=[]))
    with pytest.raises(Refusal, match="alone needs alone"):
        build_order({"alone": ("alone",)})


def test_runtime_circles_are_no_build_circles(tmp_path):
    graph = graph_of(
        tmp_path, project("a", [], ["b"], asks=[]), project("b", [], ["a"], asks=[]), project("c", ["a"], asks=[])
    )
    assert graph.edges["c"] == ("a", "b")


def test_packages_inside_packages_and_tool_files_are_no_packages(tmp_path):
    files = project("outer", asks=[]) | {f"outer/tests/{k}": v for k, v in project("inner", asks=[]).items()}
    files |= {"pyproject.toml": "[tool.ruff]\nline-length = 1\n", "old/setup.py": "", "docs/readme": ""}
    found = read_packages(FolderTree(write(tmp_path, files)))
    assert {name: package.folder for name, package in found.items()} == {"outer": "outer/", "old": "old/"}
    assert [str(r) for r in found["old"].requires] == ["setuptools>=40.8.0"]


def test_pkg_info_counts_only_where_nothing_is_written_by_hand(tmp_path):
    info = "Metadata-Version: 2.2\nName: dyn\nVersion: 3.1\nRequires-Dist: told\n"
    dynamic = {
        "dyn/pyproject.toml": '[build-system]\nrequires=[]\n[project]\nname="dyn"\ndynamic=["version","dependencies"]\n'
    }
    found = read_packages(FolderTree(write(tmp_path / "a", dynamic | {"dyn/PKG-INFO": info})))
    assert (str(found["dyn"].version), [str(r) for r in found["dyn"].runtime]) == ("3.1", ["told"])
    edited = project("dyn", [], ["by-hand"]) | {"dyn/PKG-INFO": info}
    found = read_packages(FolderTree(write(tmp_path / "b", edited)))
    assert [str(r) for r in found["dyn"].runtime] == ["by-hand"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"a/pyproject.toml": "[project"}, "no TOML"),
        ({"a/pyproject.toml": "project = 3\n"}, "no table"),
        ({"a/pyproject.toml": '[build-system]\nrequires = ["a b c"]\n'}, "can't be read"),
        (project("x") | {"y/pyproject.toml": '[project]\nname = "X"\n'}, "both called x"),
    ],
)
def test_broken_trees_are_refused_with_a_sentence(tmp_path, files, told):
    with pytest.raises(Refusal, match=told):
        read_packages(FolderTree(write(tmp_path, files)))


def test_git_and_folder_give_the_same_hash_and_the_same_bytes(tmp_path):
    write(tmp_path, project("pkg", asks=[]) | {"pkg/run.sh": "#!/bin/sh\n", "pkg/deep/er/x": "1"})
    (tmp_path / "pkg/run.sh").chmod(0o755)
    (tmp_path / "pkg/link").symlink_to("deep/er/x")
    plain = FolderTree(tmp_path)
    stored = GitTree(Repository(tmp_path), commit(tmp_path))
    one, two = read_packages(plain)["pkg"], read_packages(stored)["pkg"]
    assert one.source == two.source
    assert pack(plain, one) == pack(stored, two)
    (tmp_path / "pkg/run.sh").chmod(0o644)
    assert read_packages(FolderTree(tmp_path))["pkg"].source != one.source


def test_the_work_tree_is_not_what_is_read(tmp_path):
    write(tmp_path, project("pkg", asks=[]))
    commit(tmp_path)
    write(tmp_path, {"pkg/pyproject.toml": "broken ["})
    tree = open_tree(tmp_path / "pkg")
    assert isinstance(tree, GitTree)
    assert [e.path for e in tree.entries()] == ["own.py", "pyproject.toml"]
    assert list(read_packages(tree)) == ["pkg"]


def test_attributes_do_not_rewrite_sources(tmp_path):
    write(
        tmp_path,
        project("pkg", asks=[]) | {"pkg/.gitattributes": "* export-ignore\nv export-subst\n", "pkg/v": "$Format:%H$"},
    )
    tree = GitTree(Repository(tmp_path), commit(tmp_path))
    assert b"$Format:%H$" in pack(tree, read_packages(tree)["pkg"])


def test_a_folder_in_a_checkout_that_git_does_not_know_is_a_plain_folder(tmp_path):
    write(tmp_path, {"readme": ""})
    commit(tmp_path)
    write(tmp_path / "new", project("pkg", asks=[]))
    assert isinstance(open_tree(tmp_path / "new"), FolderTree)


@pytest.mark.parametrize(
    "name", [b"../up", b"/root", b"a//b", b"a/./b", b"a/.git/config", b"a\\b", b"a/.GIT/x", b"\xff"]
)
def test_hostile_paths_are_refused(name):
    with pytest.raises(Refusal):
        safe_path(name)


def test_a_hostile_tree_is_refused(tmp_path):
    git(tmp_path, "init", "--quiet", "--bare")
    blob = git(tmp_path, "hash-object", "-w", "--stdin", given=b"x")
    raw = b"100644 ..\0" + bytes.fromhex(blob)
    tree = git(tmp_path, "hash-object", "-t", "tree", "--literally", "-w", "--stdin", given=raw)
    made = git(tmp_path, "commit-tree", tree, "-m", "x")
    with pytest.raises(Refusal, match="could leave its folder"):
        GitTree(Repository(tmp_path), made)


@pytest.mark.parametrize("target", ["/etc/passwd", "../../other", "../pkg/../../x"])
def test_links_out_of_a_package_are_refused(tmp_path, target):
    write(tmp_path, project("pkg", asks=[]))
    (tmp_path / "pkg/link").symlink_to(target)
    tree = FolderTree(tmp_path)
    with pytest.raises(Refusal, match="outside its package"):
        pack(tree, read_packages(tree)["pkg"])


def test_changed_paths_belong_to_the_longest_folder(tmp_path):
    old = commit(write(tmp_path, {"a/b/x": "1", "a/y": "1", "z": "1", "ab": "1"}))
    new = commit(write(tmp_path, {"a/b/x": "2", "ab": "2"}))
    changed = Repository(tmp_path).changed(old, new)
    assert changed == {"a/b/x", "ab"}
    assert touched(changed, ["a/", "a/b/"]) == {"a/b/"}
    assert touched(changed, ["", "a/b/"]) == {"", "a/b/"}


def test_the_content_hash_sees_paths_modes_and_contents_only():
    one = [Entry("p/a", 0o100644, "1" * 40), Entry("p/b", 0o100644, "2" * 40)]
    moved = [Entry("q/r/b", 0o100644, "2" * 40), Entry("q/r/a", 0o100644, "1" * 40), Entry("other", 0o100644, "3" * 40)]
    assert content_hash(one, "p/") == content_hash(moved, "q/r/")
    for other in (Entry("p/c", 0o100644, "2" * 40), Entry("p/b", 0o100755, "2" * 40), Entry("p/b", 0o100644, "4" * 40)):
        assert content_hash(one, "p/") != content_hash([one[0], other], "p/")


def test_an_unknown_commit_and_no_repository_are_told(tmp_path):
    git(tmp_path, "init", "--quiet")
    with pytest.raises(Refusal, match="no commit"):
        Repository(tmp_path).commit("0123456789" * 4)
    with pytest.raises(Refusal, match="no commit"):
        Repository(tmp_path).commit("--output=/tmp/x")
    with pytest.raises(Refusal, match="no folder"):
        open_tree(tmp_path / "absent")
