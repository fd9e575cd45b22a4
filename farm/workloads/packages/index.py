"""A folder that pip can install from: INDEX/PROJECT/{*.whl,index.html} and INDEX/index.html (PEP 503).

Files appear whole. A wheel comes before the page that names it, so what a page lists can be had; a reader that comes
between the two while different bytes replace a file of the same name sees a wrong hash and has to try again.
"""

import fcntl
import hashlib
import html
import io
import os
import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import quote

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from farm.refusal import Refusal

_UNREADABLE = (InvalidWheelFilename, zipfile.BadZipFile, ValueError)  # and what zipfile lets pass of damaged files


class Named(Protocol):
    """A file of the store under a name (farm.model.File, executors.contract.FileRef)."""

    @property
    def path(self) -> str: ...

    @property
    def digest(self) -> str: ...


class Reads(Protocol):
    """The part of a content store that is needed here."""

    def read(self, digest: str, /) -> bytes: ...


def publish(outputs: Sequence[Named], store: Reads, index: Path) -> tuple[Path, ...]:
    """Put wheels into the index; where they are now. What is there already stays, of one name the last one counts.

    Raises Refusal, before anything is written, when a file is no wheel.
    """
    wheels = [(PurePosixPath(file.path).name, store.read(file.digest)) for file in outputs]
    projects = [project_of(name, data) for name, data in wheels]
    index.mkdir(parents=True, exist_ok=True)
    with _alone(index):
        made = tuple(_put(index / project / name, data) for project, (name, data) in zip(projects, wheels, strict=True))
        for project in sorted(set(projects)):
            _put(index / project / "index.html", _project_page(index / project))
        _put(index / "index.html", _root_page(index))
    return made


def project_of(name: str, data: bytes) -> str:
    """The normalised project a wheel belongs to. Raises Refusal when it is none, saying why."""
    try:
        project, version, _, _ = parse_wheel_filename(name)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            told = [path for path in archive.namelist() if path.endswith(".dist-info/METADATA")]
    except (*_UNREADABLE, NotImplementedError, EOFError, OSError, struct.error, OverflowError) as error:
        raise Refusal(f"{name} is no wheel: {error}", remedy="only *.whl files can be published") from error
    stems = [path.removesuffix(".dist-info/METADATA") for path in told]
    own = [stem.rpartition("-")[0] for stem in stems if "/" not in stem]  # deeper ones are of packages it carries
    if [canonicalize_name(stem) for stem in own] != [project]:
        raise Refusal(f"{name} is no wheel of {project} {version}: it has no such METADATA", remedy="build it again")
    return str(project)


@contextmanager
def _alone(index: Path) -> Iterator[None]:
    """One writer at a time."""
    folder = os.open(index, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _put(path: Path, data: bytes) -> Path:
    """Whole or not at all, on disk when it returns; untouched when it is there already."""
    if path.is_file() and path.read_bytes() == data:
        return path
    path.parent.mkdir(exist_ok=True)
    coming = path.with_name(f".coming-{path.name}")
    with coming.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    coming.replace(path)
    _sync(path.parent)
    return path


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _project_page(folder: Path) -> bytes:
    wheels = sorted(path for path in folder.glob("*.whl") if not path.name.startswith("."))
    links = ((f"{quote(w.name)}#sha256={hashlib.sha256(w.read_bytes()).hexdigest()}", w.name) for w in wheels)
    return _page(f"Links for {folder.name}", links)


def _root_page(index: Path) -> bytes:
    return _page(
        "Packages", ((f"{page.parent.name}/", page.parent.name) for page in sorted(index.glob("*/index.html")))
    )


def _page(title: str, links: Iterable[tuple[str, str]]) -> bytes:
    rows = "".join(f'    <a href="{html.escape(link)}">{html.escape(text)}</a><br>\n' for link, text in links)
    head = f'<meta name="pypi:repository-version" content="1.0">\n    <title>{html.escape(title)}</title>'
    page = f"<!DOCTYPE html>\n<html>\n  <head>\n    {head}\n  </head>\n  <body>\n{rows}  </body>\n</html>\n"
    return page.encode()
