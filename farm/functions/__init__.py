"""Python functions as tasks: `farm.map(function, items)`."""

from farm.functions.map import map
from farm.functions.mapped import FunctionFailed, Mapped, results

__all__ = ["FunctionFailed", "Mapped", "map", "results"]
