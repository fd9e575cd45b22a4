"""What has to be built before what."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from farm.refusal import Refusal
from farm.workloads.packages.ask import Answer, Asker
from farm.workloads.packages.package import Package
from farm.workloads.packages.source import Tree


@dataclass(frozen=True)
class Graph:
    """`edges`: package → all whose wheels its build installs. `order`: every package after those it needs."""

    edges: Mapping[str, tuple[str, ...]]
    order: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def dependants(self, names: Iterable[str]) -> frozenset[str]:
        """All that are built with any of `names`, directly or through others; `names` not included."""
        reached = set(names)
        for name in self.order:
            if reached & set(self.edges[name]):
                reached.add(name)
        return frozenset(reached - set(names))

    def prerequisites(self, names: Iterable[str]) -> frozenset[str]:
        """All that have to be built before any of `names`; `names` not included."""
        reached = set(names)
        for name in reversed(self.order):
            if name in reached:
                reached.update(self.edges[name])
        return frozenset(reached - set(names))


def read_graph(tree: Tree, packages: Mapping[str, Package], cache: Path) -> Graph:
    """Edges = declared requirements + what the backend asks for + what those need to run.

    Raises Refusal naming every requirement that the tree can't meet, or the packages of a cycle.
    """
    return graph_of(packages, asked(tree, packages, cache))


def asked(tree: Tree, packages: Mapping[str, Package], cache: Path) -> dict[str, Answer]:
    """What the backends ask for: runs code of the tree. Raises Refusal as `read_graph`."""
    declared = {name: needs(package, package.requires, packages) for name, package in packages.items()}
    return Asker(tree, packages, cache).ask(declared)


def graph_of(packages: Mapping[str, Package], answers: Mapping[str, Answer]) -> Graph:
    """The same of backends that were asked already; those without an answer count with what they declare."""
    answers = {name: answers.get(name, Answer(unknown="its backend was not asked")) for name in packages}
    edges = {name: needs(package, _all(package, answers[name]), packages) for name, package in packages.items()}
    notes = tuple(f"{name}: {answers[name].unknown}" for name in sorted(answers) if answers[name].unknown)
    return Graph(edges, build_order(edges), notes)


def _all(package: Package, answer: Answer) -> tuple[Requirement, ...]:
    return package.requires + tuple(Requirement(line) for line in answer.requires)


def needs(package: Package, requires: Iterable[Requirement], packages: Mapping[str, Package]) -> tuple[str, ...]:
    """Names of the packages that meet `requires`, with all that these need to run; markers hold for this Python.

    A backend that builds itself (`backend-path`) declares nothing of itself, so it does not appear.
    """
    wanted = [(requirement, package.name) for requirement in requires if _applies(requirement, "")]
    met: set[tuple[str, str]] = set()
    missing: list[str] = []
    while wanted:
        requirement, asker = wanted.pop()
        found = packages.get(canonicalize_name(requirement.name))
        if found is None or not _meets(found, requirement):
            missing.append(_missing(requirement, asker, found))
            continue
        for extra in {"", *requirement.extras} - {extra for name, extra in met if name == found.name}:
            met.add((found.name, extra))
            wanted += [(needed, found.name) for needed in found.runtime if _applies(needed, extra)]
    if missing:
        raise Refusal("; ".join(sorted(set(missing))), package.folder or ".", "add what is missing to the tree")
    return tuple(sorted({name for name, _ in met}))


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _meets(package: Package, requirement: Requirement) -> bool:
    if requirement.url:
        return False
    return package.version is None or requirement.specifier.contains(package.version, prereleases=True)


def _missing(requirement: Requirement, asker: str, found: Package | None) -> str:
    if requirement.url:
        return f"{asker} needs {requirement.name} from an address, but builds see only the packages of the tree"
    wanted = f"{asker} needs {requirement.name}{requirement.specifier}"
    return f"{wanted}, which is not in the tree" if found is None else f"{wanted}, but the tree has {found.version}"


def build_order(edges: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """The same order for the same edges. Raises Refusal naming a cycle."""
    try:
        return tuple(TopologicalSorter({name: sorted(edges[name]) for name in sorted(edges)}).static_order())
    except CycleError as error:
        circle = " needs ".join(reversed(error.args[1]))
        raise Refusal(f"a circle of build requirements: {circle}", remedy="break it, as with backend-path") from error
