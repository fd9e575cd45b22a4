"""A package as its own files describe it: what it is called, what builds it, what it needs to run."""

import configparser
import email.parser
import email.policy
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import InvalidName, canonicalize_name
from packaging.version import Version

from farm.changes import Entry, content_hash
from farm.refusal import Refusal
from farm.workloads.packages.source import Tree

_TOLD_BY = ("pyproject.toml", "PKG-INFO", "setup.cfg", "setup.py")
_LEGACY = "setuptools.build_meta:__legacy__"


@dataclass(frozen=True)
class Package:
    """`folder` is "" or "a/b/" below the top of the tree; `source` is the hash of all files of it."""

    name: str
    folder: str
    source: str
    entries: tuple[Entry, ...]
    version: Version | None = None
    requires: tuple[Requirement, ...] = ()  # to build it, as declared
    runtime: tuple[Requirement, ...] = ()  # to run it, markers not evaluated yet
    backend: str = _LEGACY
    backend_path: tuple[str, ...] = ()


def read_packages(tree: Tree) -> dict[str, Package]:
    """Packages by name: outermost folders with a setup.py, or a pyproject.toml that speaks of a package.

    Raises Refusal for files that can't be read and for two folders of one name.
    """
    entries = tree.entries()
    told = _told(tree, entries)
    found: dict[str, Package] = {}
    for folder, files in _outermost(told).items():
        package = _package(folder, files, tuple(e for e in entries if e.path.startswith(folder)))
        if package.name in found:
            raise Refusal(
                f"{found[package.name].folder or '.'} and {folder or '.'} are both called {package.name}",
                tree.title,
                "rename one of them",
            )
        found[package.name] = package
    return found


def _told(tree: Tree, entries: Sequence[Entry]) -> dict[str, dict[str, str]]:
    """Folder → name of a file that describes a package → its text."""
    wanted = [e for e in entries if e.path.rpartition("/")[2] in _TOLD_BY]
    folders: dict[str, dict[str, str]] = {}
    for path, data in tree.contents(wanted).items():
        folder, slash, name = path.rpartition("/")
        folders.setdefault(folder + slash, {})[name] = data.decode(errors="replace")
    return folders


def _outermost(told: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """Test data inside a package may look like packages: what lies below a package belongs to it."""
    found: dict[str, Mapping[str, str]] = {}
    for folder in sorted(told):
        if not any(folder.startswith(above) for above in found) and _is_package(folder, told[folder]):
            found[folder] = told[folder]
    return found


def _is_package(folder: str, files: Mapping[str, str]) -> bool:
    if "setup.py" in files:
        return True
    return bool({"project", "build-system"} & set(_toml(folder, files)))


def _package(folder: str, files: Mapping[str, str], entries: tuple[Entry, ...]) -> Package:
    pyproject = _toml(folder, files)
    project, build = _table(pyproject, "project", folder), _table(pyproject, "build-system", folder)
    info = email.parser.Parser(policy=email.policy.compat32).parsestr(files.get("PKG-INFO", ""), headersonly=True)
    setup = _setup_cfg(files)
    name = project.get("name") or info["Name"] or setup.get("metadata", {}).get("name")
    return Package(
        name=_name(name, folder) if name else _last(folder),
        folder=folder,
        source=content_hash(entries, folder),
        entries=entries,
        version=_version(project.get("version") or info["Version"]),
        requires=_requirements(_texts(build, "requires", folder, ["setuptools>=40.8.0"]), folder),
        runtime=_requirements(_runtime(project, info.get_all("Requires-Dist"), setup, folder), folder),
        backend=str(build.get("build-backend", _LEGACY)),
        backend_path=tuple(_texts(build, "backend-path", folder)),
    )


def _name(name: object, folder: str) -> str:
    """Normalised. It becomes part of paths and of an index: nothing else than a name will do."""
    try:
        return canonicalize_name(str(name), validate=True)
    except InvalidName as error:
        what = f"{str(name)[:80]!r} is no name of a package"
        raise Refusal(what, folder or ".", "use letters, digits and single . _ - between them") from error


def _texts(table: Mapping[str, Any], key: str, folder: str, absent: Sequence[str] = ()) -> list[str]:
    """A list of texts, as PEP 518 and 621 want it."""
    found = table.get(key, absent)
    if not isinstance(found, list | tuple) or not all(isinstance(each, str) for each in found):
        raise Refusal(f"{key} of pyproject.toml is no list of texts", folder or ".", f'write {key} = ["…"]')
    return list(found)


def _runtime(
    project: Mapping[str, Any], wrote: list[str] | None, setup: Mapping[str, Mapping[str, str]], folder: str
) -> list[str]:
    """What is declared by hand wins over PKG-INFO, which an edit leaves stale; PKG-INFO over a guess."""
    if project and "dependencies" not in _texts(project, "dynamic", folder):
        groups = _table(project, "optional-dependencies", folder)
        extras = _extras({_name(extra, folder): _texts(groups, extra, folder) for extra in groups})
        return [*_texts(project, "dependencies", folder), *extras]
    lines = setup.get("options", {}).get("install_requires", "").splitlines()
    return list(map(str, wrote)) if wrote is not None else [line.strip() for line in lines if line.strip()]


def _extras(groups: Mapping[str, Sequence[str]]) -> Iterable[str]:
    for extra, lines in groups.items():
        for line in lines:
            needed, _, marker = line.partition(";")
            also = f"({marker.strip()}) and " if marker else ""
            yield f"{needed.strip()} ; {also}extra == '{canonicalize_name(extra)}'"


def _requirements(lines: Sequence[str], folder: str) -> tuple[Requirement, ...]:
    try:
        return tuple(Requirement(line) for line in lines)
    except (ValueError, RecursionError) as error:  # InvalidRequirement is one, and so is a number without end
        raise Refusal(f"a requirement can't be read: {str(error)[:300]}", folder or ".", "see PEP 508") from error


def _toml(folder: str, files: Mapping[str, str]) -> dict[str, Any]:
    try:
        return tomllib.loads(files.get("pyproject.toml", ""))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is one, and so is a number without end
        raise Refusal(
            f"pyproject.toml is no TOML: {str(error)[:300]}", folder or ".", "correct it and push again"
        ) from error


def _table(pyproject: Mapping[str, Any], key: str, folder: str) -> Mapping[str, Any]:
    found = pyproject.get(key, {})
    if not isinstance(found, dict):
        raise Refusal(f"[{key}] of pyproject.toml is no table", folder or ".", f"write [{key}] and its keys below")
    return found


def _setup_cfg(files: Mapping[str, str]) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(files.get("setup.cfg", ""))
    except configparser.Error:
        return {}
    return {section: dict(parser[section]) for section in parser.sections()}


def _version(text: object) -> Version | None:
    try:
        return Version(str(text)) if text else None
    except ValueError:  # InvalidVersion is one, and so is a number without end
        return None


def _last(folder: str) -> str:
    """What a folder is called, as far as that can be a name."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", folder.rstrip("/").rpartition("/")[2]).strip("-")
    return canonicalize_name(name or "package")
