"""One file for a whole source folder: the same files always give the same bytes."""

import io
import posixpath
import tarfile
from collections.abc import Mapping

from farm.changes import GITLINK, SYMLINK, Entry
from farm.refusal import Refusal
from farm.workloads.packages.package import Package
from farm.workloads.packages.source import Tree


def pack(tree: Tree, package: Package) -> bytes:
    """A tar of the package's folder. Raises Refusal for submodules and for links that leave the folder."""
    for entry in package.entries:
        if entry.mode == GITLINK:
            raise Refusal(f"{entry.path} is a submodule, whose files are elsewhere", remedy="commit its files instead")
    return _tar(package, tree.contents(package.entries))


def _tar(package: Package, contents: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in sorted(package.entries, key=lambda e: e.path):
            data = contents[entry.path]
            archive.addfile(_member(entry, package.folder, data), io.BytesIO(data))
    return packed.getvalue()


def _member(entry: Entry, folder: str, data: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(entry.path.removeprefix(folder))
    if entry.mode == SYMLINK:
        member.type, member.linkname = tarfile.SYMTYPE, _target(member.name, data)
        return member
    member.size, member.mode = len(data), 0o755 if entry.mode & 0o100 else 0o644
    return member


def _target(name: str, data: bytes) -> str:
    target = data.decode(errors="replace")
    end = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    if target.startswith("/") or "\\" in target or end == ".." or end.startswith("../"):
        raise Refusal(f"the link {name} leads to {target!r}, outside its package", remedy="link inside the package")
    return target
