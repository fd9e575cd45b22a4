"""What is told: acts, remarks, bars, pictures, and the claims that must hold."""

import json
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from demo.user import User
from farm.refusal import Unavailable
from farm.workloads.render.gallery import drawn, has_colours

MADE = ("film.mp4", "contact.png", "cost.json", "usage.json", "simple")


class Broken(Exception):
    """A claim does not hold."""


def fresh(out: Path) -> None:
    """The folder, with nothing in it that an earlier run has left. Raises Unavailable."""
    if out.is_dir():
        for path in out.iterdir():
            if path.name in MADE:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"it can't be made: {error.strerror}", str(out), "name another folder with --out") from error


class Bar:
    """How far something is; nothing where there is no terminal."""

    def __init__(self, progress: Progress, name: str, total: int) -> None:
        self._progress, self._name, self._total = progress, name, total
        self._task = progress.add_task(name, total=total)

    def at(self, done: int, note: str = "", total: int | None = None) -> None:
        text = f"{self._name} {escape(note)}".rstrip()
        self._progress.update(self._task, completed=done, total=total or self._total, description=text)


class Story:
    """`began` is when `make demo` was typed, in seconds since the epoch; 0 is now. With `as_json` it is told on stderr,
    and its end is a JSON value."""

    def __init__(self, began: float = 0, as_json: bool = False) -> None:
        self._json = as_json
        self.console = Console(highlight=False, soft_wrap=True, stderr=as_json)
        self._clock = time.monotonic() - (max(0.0, time.time() - began) if began else 0.0)
        self._acts = 0
        self._claims = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._clock

    def act(self, title: str, what: str) -> None:
        self._acts += 1
        self.console.print(f"\n[bold]{self._acts}. {escape(title)}[/bold]  [dim]{self.seconds:.0f} s[/dim]")
        self.console.print(f"   {escape(what)}", style="dim")

    def types(self, line: str) -> None:
        self.console.print(f"   [cyan]$ {escape(line)}[/cyan]")

    def say(self, text: str) -> None:
        self.console.print(f"   {escape(text)}")

    def shout(self, text: str) -> None:
        self.console.print(f"   [bold yellow]{escape(text)}[/bold yellow]")

    def claim(self, text: str, holds: object, evidence: object = "") -> None:
        """Say that something holds. Raises Broken, with the evidence, when it does not."""
        if not holds:
            raise Broken(f"{text}: this does not hold" + (f" ({evidence})" if evidence != "" else ""))
        self._claims += 1
        self.console.print(f"   [green]✓[/green] {escape(text)}")

    @contextmanager
    def bar(self, name: str, total: int) -> Iterator[Bar]:
        columns = (
            SpinnerColumn(),
            TextColumn("   {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        shown = self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=not shown) as progress:
            yield Bar(progress, name, total)

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Something takes its time: it is seen to go on."""
        begun = self.seconds
        self.say(f"{what} …")
        columns = (SpinnerColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            progress.add_task(what, total=None)
            yield
        self.say(f"… {self.seconds - begun:.0f} s")

    def pictures(self, frames: Sequence[bytes], names: Sequence[str]) -> None:
        """Frames side by side where there is a terminal, else their names."""
        if has_colours(self.console):
            self.console.print(drawn(frames), soft_wrap=True)
        self.say("   ".join(names))

    def text(self, lines: str) -> None:
        self.console.print(Text("\n".join(f"   {line}" for line in lines.rstrip().split("\n"))), soft_wrap=True)

    def broke(self, why: str, user: User) -> None:
        self.console.print(f"\n[bold red]✗ {escape(why)}[/bold red]")
        self.text(user.last_words())

    def end(self, out: Path) -> None:
        files = [name for name in MADE if (out / name).exists()]
        held = f"[bold green]{self._claims} claims held[/bold green] in {self.seconds:.0f} s"
        self.console.print(f"\n{held}: {', '.join(files)}")
        self.console.print(f"in {escape(str(out))}")
        if self._json:
            told = {"claims": self._claims, "seconds": round(self.seconds, 1), "out": str(out), "files": files}
            sys.stdout.write(json.dumps(told) + "\n")
