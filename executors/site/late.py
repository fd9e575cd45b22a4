"""Modules that Ray imports and that nothing here uses: they come when somebody asks for what is in them.

Measured with Ray 2.60: 7 MiB of 33 in each process that imports it, of which an executor elsewhere has two.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_bootstrap: Any = sys.modules["importlib._bootstrap"]
OF_RAY = ("jsonschema", "requests", "yaml")
_IMPORT = frozenset(f"__{name}__" for name in ("path", "file", "cached", "loader", "spec", "package", "wrapped"))
"""Looked for by who goes through all modules there are; where a module has them, they are there from the start."""


class _Late(ModuleType):
    """Is loaded by the first look at a name of its own; whoever comes meanwhile waits."""

    def __getattr__(self, name: str) -> Any:
        if name in _IMPORT or name == "__warningregistry__":
            raise AttributeError(name)
        about = self.__dict__
        try:  # by the import's own lock: it knows when two threads wait for each other, and lets one of them go on
            with _bootstrap._ModuleLockManager(self.__name__):
                _load(self)
        except _bootstrap._DeadlockError:
            pass  # with what is there by now, as in any import
        if name in about:
            return about[name]
        if name != "__getattr__" and "__getattr__" in about:  # some say what is in them when they are asked
            return about["__getattr__"](name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def _load(module: ModuleType) -> None:
    about = module.__dict__
    if type(module) is _Late and not about.get("_begun"):  # what is being loaded looks at itself, too
        about["_begun"] = True
        about["__spec__"].loader.real.exec_module(module)
        module.__class__ = ModuleType  # type: ignore[assignment]


class _Loader(Loader):
    def __init__(self, real: Loader) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Late(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Later."""


class _Finder(MetaPathFinder):
    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name in self._names else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


def come_late(names: Sequence[str] = OF_RAY) -> None:
    """From now on these come late; those that are there already stay. Repeating it is fine."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(names))
