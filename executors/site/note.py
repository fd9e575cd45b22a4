"""A small private file that is there whole or not at all."""

import os
from pathlib import Path


def write_note(path: Path, text: str) -> None:
    """For this user alone. Raises OSError."""
    fresh = path.with_suffix(".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)
