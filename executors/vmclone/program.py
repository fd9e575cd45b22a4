"""The farm's own program for guests: the modules that the guest's main module needs, as a zip that is the same for the
same sources."""

import ast
import hashlib
import io
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import executors

ROOT = Path(executors.__file__).parents[1]
MAIN = "executors.vmclone.guest"
LATE = ("executors.site.keeper",)  # named in a command line, not imported
EPOCH = (1980, 1, 1, 0, 0, 0)


@cache
def program() -> bytes:
    """Zip of `executors/…`."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(_needed()):
            archive.writestr(zipfile.ZipInfo(str(file.relative_to(ROOT)), EPOCH), file.read_bytes())
    return out.getvalue()


def digest() -> str:
    return hashlib.sha256(program()).hexdigest()


def _needed() -> set[Path]:
    found: set[Path] = set()
    todo = [MAIN, *LATE]
    while todo:
        for file in _files(todo.pop()):
            if file not in found:
                found.add(file)
                todo.extend(_imports(file))
    return found


def _files(module: str) -> Iterator[Path]:
    """Its file and those of the packages around it; nothing for what is no module (a name imported from one)."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        place = ROOT.joinpath(*parts[:depth])
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file():
                yield file


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "executors":
            yield node.module or ""
            yield from (f"{node.module}.{name.name}" for name in node.names)
