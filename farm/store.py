"""Where inputs and outputs live: a folder now, the same four calls for object storage later."""

from pathlib import Path

from executors.store import FolderStore

Store = FolderStore


def open_store(folder: Path) -> FolderStore:
    return FolderStore(folder)
