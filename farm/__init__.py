"""Knows jobs, the database and people."""

__version__ = "0.1.0"
API = "1"  # what a program and a farm elsewhere must have in common: the header Farm-Api of every answer


def __getattr__(name: str) -> object:
    """`farm.map` and `farm.results`, loaded when they are asked for: `import farm` is part of every command's time."""
    if name in ("map", "results", "FunctionFailed"):
        from importlib import import_module

        return getattr(import_module("farm.functions"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
