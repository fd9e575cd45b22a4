"""From a commit to the builds it makes necessary, and from finished builds to what is known for the next one."""

import hashlib
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from farm.changes import Repository, is_nothing, touched
from farm.model import File, Item, JobSpec, StepSpec
from farm.refusal import Refusal
from farm.workloads.packages.ask import Answer
from farm.workloads.packages.graph import Graph, graph_of, read_graph
from farm.workloads.packages.pack import pack
from farm.workloads.packages.package import Package, read_packages
from farm.workloads.packages.source import FolderTree, GitTree, Tree, changed_paths, open_tree

PROGRAM = Path(__file__).with_name("build.py")
EPOCH = "1577836800"  # SOURCE_DATE_EPOCH of every build: one date for all, so that equal sources give equal wheels
_TIMEOUT_S = 3600.0

Put = Callable[[bytes], str]
"""Puts bytes into the content store and gives their sha256."""


@dataclass(frozen=True)
class Built:
    """The last good build of a package: hash of its source, hash of all it was built with, its wheels.

    `contested`: a later job that has not ended, or is not published yet, may replace it.
    """

    source: str
    environment: str
    outputs: tuple[File, ...]
    contested: bool = False


@dataclass(frozen=True)
class Plan:
    """`job` is None when there is nothing to do (`refused` False) or nothing can be done (`refused` True)."""

    job: JobSpec | None
    why: str
    refused: bool = False
    notes: tuple[str, ...] = ()
    edges: Mapping[str, tuple[str, ...]] | None = None


@dataclass(frozen=True)
class Wish:
    """For whom, and where the planner may put things: `put` the content store, `cache` a folder of its own."""

    owner: str
    put: Put
    cache: Path
    project: str = ""
    lane: str = "default"
    priority: int = 0
    python: str = f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"  # of the executors
    extra: Mapping[str, str] | None = None
    asked: Mapping[str, Answer] | None = None  # what the backends ask for, where it is known already
    limits: Mapping[str, Any] | None = None  # fields of a step: timeout_s, silence_s, output_bytes, memory, processes


def plan_rebuild(
    repository: Path, ref: str, old: str, new: str, built: Mapping[str, Built], wish: Wish, narrow: bool = False
) -> Plan:
    """What a push of `ref` from `old` to `new` makes necessary.

    Whatever differs from `built` is planned, and what is contested there, as skipped: its wheels of now are then the
    result of the newer job, which wins over whatever the older one still brings. With `narrow` only what the commits
    between `old` and `new` touch, what depends on it, and what these need and was never built. `repository` may be a
    folder of a checkout: then only what lies below it counts.
    """
    if is_nothing(new):
        return Plan(None, f"{ref} was deleted: nothing to build")
    try:
        top, below = Repository(repository).prefix() or (repository, "")
        source = Repository(top)
        tree = GitTree(source, source.commit(new), below)
        chosen = changed_paths(source, old, tree.commit, below) if narrow else None
        found = replace(wish, extra={"repository": str(repository), "ref": ref, "commit": tree.commit})
        return _plan(tree, f"{_short(ref)} of {tree.title}", built, found, chosen)
    except Refusal as refusal:
        return Plan(None, str(refusal), refused=True)


def plan_tree(path: Path, built: Mapping[str, Built], wish: Wish) -> Plan:
    """What differs from `built` in a plain folder, or in HEAD where `path` is or lies in a git checkout."""
    try:
        tree = open_tree(path)
        at = {"commit": tree.commit} if isinstance(tree, GitTree) else {}
        plan = _plan(tree, tree.title, built, replace(wish, extra={"tree": str(path), **at}), None)
    except Refusal as refusal:
        return Plan(None, str(refusal), refused=True)
    kind = (
        "the folder as it is now" if isinstance(tree, FolderTree) else f"commit {tree.commit[:8]}, not the edits since"
    )
    return replace(plan, notes=(f"built from {kind}", *plan.notes))


def plan_sent(
    tree: Tree,
    title: str,
    about: Mapping[str, str],
    built: Mapping[str, Built],
    wish: Wish,
    paths: frozenset[str] | None,
) -> Plan:
    """What differs from `built` in a tree that came from elsewhere; with `paths` as a rebuild that is `narrow`."""
    try:
        return _plan(tree, title, built, replace(wish, extra=about), paths)
    except Refusal as refusal:
        return Plan(None, str(refusal), refused=True)


def remember(job: JobSpec, outputs: Mapping[str, Sequence[File]], built: Mapping[str, Built]) -> dict[str, Built]:
    """`built` after (part of) a job: `outputs` holds the wheels of its items that are done or skipped, by name."""
    known = dict(built)
    for item in job.steps[0].items:
        if item.name in outputs and all(name in outputs for name in item.after):
            wheels = [*_given(item), *(file for name in item.after for file in outputs[name])]
            environment = _environment(item.env["FARM_RECIPE"], wheels)
            known[item.name] = Built(item.env["FARM_SOURCE"], environment, tuple(outputs[item.name]))
    return known


def recipe(python: str) -> str:
    """Hash of how things are built: the program, its date, the executors' Python."""
    return hashlib.sha256(b"\0".join([PROGRAM.read_bytes(), EPOCH.encode(), python.encode()])).hexdigest()


def _plan(tree: Tree, title: str, built: Mapping[str, Built], wish: Wish, paths: frozenset[str] | None) -> Plan:
    packages = read_packages(tree)
    if not packages:
        raise Refusal("no package here", tree.title, "a package is a folder with a pyproject.toml or a setup.py")
    graph = graph_of(packages, wish.asked) if wish.asked is not None else read_graph(tree, packages, wish.cache)
    how = recipe(wish.python)
    changed = _changed(packages, graph, built, how)
    chosen = changed | {name for name in packages if name in built and built[name].contested}
    if paths is not None:
        chosen = _narrowed(packages, graph, chosen, paths, built)
    changed &= chosen
    planned = chosen | graph.dependants(changed)
    if not planned:
        return Plan(None, f"nothing to build: {_count(packages)} as built before", notes=graph.notes, edges=graph.edges)
    draft = _Draft(tree, packages, graph, built, how, wish.put)
    items = tuple(draft.item(name, name in changed, planned) for name in graph.order if name in planned)
    return Plan(_job(title, items, wish), _why(packages, changed, planned), notes=graph.notes, edges=graph.edges)


def _changed(packages: Mapping[str, Package], graph: Graph, built: Mapping[str, Built], how: str) -> frozenset[str]:
    """Those whose source, recipe, or last build of what they are built with differs from their own last build."""
    return frozenset(
        name
        for name, package in packages.items()
        if name not in built
        or built[name].source != package.source
        or built[name].environment != _environment(how, _wheels(graph.edges[name], built))
    )


def _narrowed(
    packages: Mapping[str, Package],
    graph: Graph,
    changed: frozenset[str],
    paths: frozenset[str],
    built: Mapping[str, Built],
) -> frozenset[str]:
    folders = {package.folder: name for name, package in packages.items()}
    asked = frozenset(folders[folder] for folder in touched(paths, folders)) & changed
    reached = asked | graph.dependants(asked)
    missing = {name for name in graph.prerequisites(reached) if name not in built}
    return asked | missing | (reached & changed)


@dataclass(frozen=True)
class _Draft:
    """All it takes to write one item."""

    tree: Tree
    packages: Mapping[str, Package]
    graph: Graph
    built: Mapping[str, Built]
    how: str
    put: Put

    def item(self, name: str, changed: bool, planned: frozenset[str]) -> Item:
        package, after = self.packages[name], tuple(n for n in self.graph.edges[name] if n in planned)
        given = _wheels((n for n in self.graph.edges[name] if n not in planned), self.built)
        return Item(
            name=name,
            argv=("{python}", "build.py", name),
            env={"FARM_SOURCE": package.source, "FARM_RECIPE": self.how},
            inputs=(_stored("source.tar", pack(self.tree, package), self.put), *(_as_input(wheel) for wheel in given)),
            after=after,
            changed=changed,
            previous=self.built[name].outputs if name in self.built else (),
        )


def _job(title: str, items: tuple[Item, ...], wish: Wish) -> JobSpec:
    step = StepSpec(
        name="build",
        env={"SOURCE_DATE_EPOCH": EPOCH},
        items=items,
        inputs=(_stored("build.py", PROGRAM.read_bytes(), wish.put),),
        outputs=("dist/*.whl",),
        gather="wheels",
        **{"timeout_s": _TIMEOUT_S, **(wish.limits or {})},
    )
    return JobSpec(
        kind="packages",
        name=f"rebuild {title}"[:200],
        owner=wish.owner,
        project=wish.project,
        lane=wish.lane,
        priority=wish.priority,
        steps=(step,),
        extra=wish.extra or {},
    )


def _environment(how: str, wheels: Iterable[File]) -> str:
    rows = sorted(f"{PurePosixPath(wheel.path).name} {wheel.digest}" for wheel in wheels)
    return hashlib.sha256("\n".join([how, *rows]).encode()).hexdigest()


def _wheels(names: Iterable[str], built: Mapping[str, Built]) -> list[File]:
    return [wheel for name in names if name in built for wheel in built[name].outputs]


def _given(item: Item) -> list[File]:
    return [file for file in item.inputs if file.path.startswith("wheels/")]


def _as_input(wheel: File) -> File:
    return wheel.model_copy(update={"path": f"wheels/{PurePosixPath(wheel.path).name}"})


def _stored(path: str, data: bytes, put: Put) -> File:
    return File(path=path, digest=put(data), size=len(data))


def _why(packages: Mapping[str, Package], changed: frozenset[str], planned: frozenset[str]) -> str:
    if not changed:
        kept = f"{_shown(planned)} stay{'s' if len(planned) == 1 else ''} so, whatever older jobs still bring"
        return f"nothing to build: {_count(packages)} as built before; {kept}"
    later = len(planned) - len(changed)
    behind = f"; {later} built with them, skipped where nothing new arrives" if later else ""
    return f"{len(changed)} of {_count(packages)} to build: {_shown(changed)}{behind}"


def _shown(some: frozenset[str]) -> str:
    names = sorted(some)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _count(packages: Mapping[str, Package]) -> str:
    return f"{len(packages)} package{'s' if len(packages) != 1 else ''}"


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
