"""Runs beside the task, by itself: `python run.py` applies function.pkl to each of items.pkl and writes results.pkl."""

import pickle
import sys
from typing import Any


def main() -> int:
    """A function that raises ends the task with status 1; what it raised is in the log."""
    function, items = _read("function.pkl"), _read("items.pkl")
    results = [_applied(function, item, n, len(items)) for n, item in enumerate(items, 1)]
    import farm_by_value  # type: ignore[import-not-found]

    with open("results.pkl", "wb") as file:
        file.write(farm_by_value.dumps(results))
    return 0


def _read(name: str) -> Any:
    with open(name, "rb") as file:
        return pickle.load(file)


def _applied(function: Any, item: Any, n: int, of: int) -> Any:
    try:
        return function(item)
    except BaseException:
        sys.stderr.write(f"item {n} of the {of} of this task: {item!r:.200}\n")
        raise


if __name__ == "__main__":
    sys.exit(main())
