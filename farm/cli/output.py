"""What goes to the terminal: rich tables there, plain columns elsewhere, JSON on request."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

TOLD = "told"  # the argument of a KeyboardInterrupt whose consequences were said already
NOTHING_QUEUED = "stopped before anything was queued: submit it again"


def emit(value: Any) -> None:
    """One JSON value, indented for people."""
    print(json.dumps(value, indent=2 if sys.stdout.isatty() else None), flush=True)


def emit_line(value: Any) -> None:
    """One line of JSON lines."""
    print(json.dumps(value), flush=True)


def say(text: str) -> None:
    """A remark for people, beside the output proper."""
    print(clean(text), file=sys.stderr, flush=True)


def clean(text: str) -> str:
    """Without control characters: names come from other people, and a terminal obeys what it is sent."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """As `clean`, and line feeds written out: one name, one line."""
    return clean(text).replace("\n", "\\n")


def cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return clean(str(value)).replace("\n", " ")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Iterable[str] = ()) -> None:
    """A table; columns in `numbers` are aligned to the right."""
    texts = [[cell(value) for value in row] for row in rows]
    right = [column in set(numbers) for column in columns]
    if sys.stdout.isatty():
        _rich_table(columns, texts, right)
    else:
        _plain_table(columns, texts, right)


def _plain_table(columns: Sequence[str], rows: list[list[str]], right: list[bool]) -> None:
    lines = [[column.upper() for column in columns], *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        cells = (t.rjust(w) if r else t.ljust(w) for t, w, r in zip(line, widths, right, strict=True))
        print("  ".join(cells).rstrip())


def _rich_table(columns: Sequence[str], rows: list[list[str]], right: list[bool]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, is_right in zip(columns, right, strict=True):
        made.add_column(column, justify="right" if is_right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(text, style=_STYLES.get(text, "")) for text in row))
    Console().print(made)


_STYLES = {
    "done": "green",
    "ready": "green",
    "running": "cyan",
    "failed": "red",
    "lost": "red",
    "cancelled": "yellow",
    "draining": "yellow",
}


def facts(pairs: Iterable[tuple[str, Any]]) -> None:
    """Names and values, those without a value left out."""
    shown = [(name, cell(value)) for name, value in pairs if value not in (None, "", {}, [])]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name:<{width}}  {value}")


def raw(data: bytes) -> None:
    """Bytes to stdout as they are, at once."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def silence() -> None:
    """Nobody reads stdout any more (`farm jobs | head`): keep Python from complaining at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
