"""Functions and what they hold on to as bytes, by value: nothing of the caller's has to be installed where they run."""

import importlib.util
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from farm.refusal import Refusal, Unavailable

NAME = "farm_by_value"
"""The pickler has this name here and beside the task, whatever other copies of it are installed at either end."""


@cache
def source() -> Path:
    """cloudpickle as Ray brings it: one file that needs the standard library alone. Raises Unavailable."""
    found = importlib.util.find_spec("ray")
    for folder in (found.submodule_search_locations or ()) if found else ():
        path = Path(folder) / "cloudpickle" / "cloudpickle.py"
        if path.exists():
            return path
    raise Unavailable(
        "Ray is not installed, whose pickler is needed", remedy="install the farm with what it depends on"
    )


@cache
def pickler() -> ModuleType:
    """Loaded without Ray itself, which would take a second."""
    spec = importlib.util.spec_from_file_location(NAME, source())
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dumped(function: Callable[..., Any]) -> bytes:
    """With its whole module, where that is not installed but stands beside the caller. Raises Refusal."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    own = module is not None and _own(module) and module.__name__ not in pickler().list_registry_pickle_by_value()
    if own:
        pickler().register_pickle_by_value(module)
    try:
        return bytes_of(function, f"the function {getattr(function, '__name__', function)!r}")
    finally:
        if own:
            pickler().unregister_pickle_by_value(module)


@contextmanager
def beside() -> Iterator[None]:
    """Meanwhile modules in the folder of the caller's program, or below it, go by value wherever they are named."""
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    folder = os.path.dirname(os.path.abspath(program)) if program else os.getcwd()
    ours = [module for name, module in list(sys.modules.items()) if _lies_in(folder, name, module)]
    for module in ours:
        pickler().register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in ours:
            pickler().unregister_pickle_by_value(module)


def _lies_in(folder: str, name: str, module: object) -> bool:
    if not isinstance(module, ModuleType) or module.__name__ != name or name.partition(".")[0] == "farm":
        return False
    file = vars(module).get("__file__")  # of a lazy one nothing is imported
    return isinstance(file, str) and os.path.abspath(file).startswith(folder + os.sep) and _own(module)


def _own(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    if file is None or module.__name__ == "__main__":
        return False
    installed = ("site-packages" in file) or ("dist-packages" in file)
    return not installed and module.__name__.partition(".")[0] not in sys.stdlib_module_names


def bytes_of(value: Any, what: str) -> bytes:
    """Raises Refusal for what can't be pickled."""
    try:
        made: bytes = pickler().dumps(value)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        remedy = "give it plain values; open files and connections inside the function"
        raise Refusal(f"{what} can't be sent: {error}", "farm.map", remedy) from error
    return made
