"""Files of this machine into the store of the farm, by content."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.client import Client
from farm.refusal import Refusal

if TYPE_CHECKING:
    from farm.model import File


def upload(client: Client, path: Path, name: str) -> dict[str, Any]:
    """Bring a file into the store, unless it is there already; the File of a step. Raises Refusal."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            status = os.fstat(file.fileno())
            if not client.has(digest):
                file.seek(0)
                client.upload(digest, file, status.st_size)
    except OSError as error:
        raise Refusal(f"the file can't be read: {error.strerror}", str(path), "check path and permissions") from error
    mode = 0o755 if status.st_mode & 0o100 else 0o644
    return {"path": name, "digest": digest, "size": status.st_size, "mode": mode}


def putter(client: Client) -> "Callable[[Path], File]":
    """What the workloads plan with."""
    from farm.model import File

    return lambda path: File(**upload(client, path, path.name[:200]))
