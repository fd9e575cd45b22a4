"""What a build backend asks for beyond what is declared (PEP 517, get_requires_for_build_wheel).

The hook is code of the tree: it runs in a process of its own, in a copy of the sources, with no site-packages, an
environment of its own and a time limit. What it imports comes from the sources of the same tree.
"""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from pyproject_hooks import BackendUnavailable, BuildBackendHookCaller, HookMissing

from farm.workloads.packages.build import extract
from farm.workloads.packages.pack import pack
from farm.workloads.packages.package import Package
from farm.workloads.packages.source import Tree

_PATIENCE_S = 60
_FORM = "1"  # of the cached answers


@dataclass(frozen=True)
class Answer:
    """`unknown` says why the backend could not be asked; then only what is declared is known."""

    requires: tuple[str, ...] = ()
    unknown: str = ""


class Asker:
    """Asks backends, each (package, what it is built with) once: answers are kept in `cache` by content."""

    def __init__(self, tree: Tree, packages: Mapping[str, Package], cache: Path) -> None:
        self._tree, self._packages, self._cache = tree, packages, cache / "asked"

    def ask(self, declared: Mapping[str, Sequence[str]]) -> dict[str, Answer]:
        """Answers by package; `declared` is, by package, the names of those it is built with as far as declared."""
        keys = {name: self._key(name, needs) for name, needs in declared.items()}
        answers = {name: found for name, key in keys.items() if (found := self._kept(key))}
        unknown = sorted(set(declared) - set(answers))
        if unknown:
            fresh = self._ask_all({name: declared[name] for name in unknown})
            for name, answer in fresh.items():
                self._keep(keys[name], answer)
            answers |= fresh
        return answers

    def _key(self, name: str, needs: Iterable[str]) -> str:
        parts = [_FORM, sys.implementation.cache_tag or "", sys.platform, self._packages[name].source]
        parts += sorted(self._packages[need].source for need in needs)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _kept(self, key: str) -> Answer | None:
        try:
            kept = json.loads((self._cache / f"{key}.json").read_text())
            return Answer(tuple(kept["requires"]), kept["unknown"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _keep(self, key: str, answer: Answer) -> None:
        if "time" in answer.unknown:
            return  # a busy machine, not a property of the sources
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=self._cache, delete=False) as file:
            json.dump({"requires": answer.requires, "unknown": answer.unknown}, file)
        os.replace(file.name, self._cache / f"{key}.json")

    def _ask_all(self, declared: Mapping[str, Sequence[str]]) -> dict[str, Answer]:
        with tempfile.TemporaryDirectory(prefix="farm-ask-") as scratch:
            for name in {*declared, *(need for needs in declared.values() for need in needs)}:
                self._unpack(name, Path(scratch, "sources", name))
            Path(scratch, "home").mkdir()
            with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
                ask = partial(self._ask_one, Path(scratch))
                return dict(zip(declared, pool.map(ask, declared, declared.values()), strict=True))

    def _unpack(self, name: str, folder: Path) -> None:
        folder.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(pack(self._tree, self._packages[name]))) as archive:
            extract(archive, folder)

    def _ask_one(self, scratch: Path, name: str, needs: Sequence[str]) -> Answer:
        package, source = self._packages[name], scratch / "sources" / name
        roots = [scratch / "sources" / need / below for need in sorted(needs) for below in ("", "src", "lib")]
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(scratch / "home"),
            "LANG": "C.UTF-8",
            "PYTHONWARNINGS": "ignore",  # pyproject-hooks repeats them in this process
            "PYTHONPATH": os.pathsep.join(str(root) for root in roots if root.is_dir()),
        }
        try:
            caller = BuildBackendHookCaller(
                str(source), package.backend, list(package.backend_path) or None, _Alone(environment), sys.executable
            )
            return _answer(caller.get_requires_for_build_wheel())
        except (BackendUnavailable, HookMissing, ValueError) as error:
            return Answer(unknown=f"{package.backend} could not be loaded: {_last_line(str(error))}")
        except subprocess.TimeoutExpired:
            return Answer(unknown=f"{package.backend} took more time than {_PATIENCE_S} s")
        except subprocess.CalledProcessError as error:
            return Answer(unknown=f"{package.backend} failed: {_last_line(error.output)}")


def _answer(asked: Sequence[str]) -> Answer:
    try:
        return Answer(tuple(str(Requirement(line)) for line in asked))
    except InvalidRequirement as error:
        return Answer(unknown=f"the backend asked for something unreadable: {error}")


@dataclass(frozen=True)
class _Alone:
    """A runner for pyproject-hooks: without site-packages (-S), so that nothing of the farm's own is importable."""

    environment: Mapping[str, str]

    def __call__(
        self, cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None
    ) -> None:
        words = [cmd[0], "-S", "-s", "-P", *cmd[1:]]
        _run(words, cwd, {**self.environment, **(extra_environ or {})})


def _run(words: Sequence[str], cwd: str | None, environment: Mapping[str, str]) -> None:
    process = subprocess.Popen(
        words,
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=_PATIENCE_S)
    finally:
        _end(process)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(words), output.decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever the hook left running in its session goes too."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason given"
