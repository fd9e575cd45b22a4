"""A small private file that is there whole or not at all."""

import os
from pathlib import Path


def write_note(path: Path, text: str) -> None:
    """For this user alone; on the disk when this returns: a token that was given once is not given again after a power
    cut. Raises OSError."""
    fresh = path.with_suffix(".new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
