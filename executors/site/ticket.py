"""What an executor is told at its start: a small JSON file."""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

PRIVATE = "FARM_PRIVATE"
"""Files of who starts an executor, with ":" between, that tasks shall not see; an environment variable."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """`engine` is "ray" or "plain"; `lease_s` holds from the start on, until the farm is heard of.

    `reach` is a file that says how a farm elsewhere is reached (executors.reach): then the executor has its own gateway
    beside it. `leave` are folders that are removed when it ends.
    """

    executor: str
    farm: str
    run: str
    folder: str
    store: str
    slots: int
    engine: str
    lease_s: float
    reach: str = ""
    leave: tuple[str, ...] = ()

    @classmethod
    def read(cls, file: str | os.PathLike[str]) -> "Ticket":
        """Fields of a newer farm are ignored. Raises OSError, ValueError, TypeError when it is no ticket."""
        raw = json.loads(Path(file).read_text())
        return cls(**{f.name: raw[f.name] for f in fields(cls) if f.name in raw})

    def write(self, file: str | os.PathLike[str]) -> None:
        path = Path(file)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self)))
        fresh.replace(path)
