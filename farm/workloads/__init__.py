"""What a job can be: each workload turns a request into a JobSpec and knows what its outputs mean."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from farm.model import File

Put: TypeAlias = "Callable[[Path], File]"
"""Brings a file of this machine into the store; its digest, size and mode hold, its path is the caller's."""
