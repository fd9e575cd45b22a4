"""What a command line may hold, and which files it brings along. Nothing heavy is imported: submitting is quick."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from farm.refusal import Refusal

ARGUMENT_LIMIT = 128 << 10
"""Bytes of one argument or variable with its end mark: MAX_ARG_STRLEN of Linux (linux/binfmts.h)."""
_SURELY = ARGUMENT_LIMIT // 16
"""Characters of a command and its environment that pass every limit, whatever bytes and pointers they become."""
NAME_LIMIT = 200
_FILE = "put it into a file and give that with --input"


def check_command(argv: Sequence[str], env: Mapping[str, str], outputs: Sequence[str] = ()) -> None:
    """Raises Refusal for what no executor could start: it says so now, not hours later."""
    if not argv or not argv[0]:
        raise Refusal("no command was given", remedy="write it after two dashes: farm submit -- make -j2")
    for number, argument in enumerate(argv):
        _bounded(sayable(argument, f"argument {number}"), f"argument {number}")
    for name, value in env.items():
        if not name or "=" in name:
            raise Refusal(f"{name!r} is no name of a variable", "--env", "write --env NAME=VALUE")
        _bounded(sayable(f"{name}={value}", f"variable {name!r}"), f"variable {name}")
    _total([*argv, *(f"{name}={value}" for name, value in env.items())])
    for pattern in outputs:
        _below(pattern)


def check_commands(
    argv: Sequence[str], commands: Sequence[Sequence[str]], env: Mapping[str, str], outputs: Sequence[str] = ()
) -> None:
    """As `check_command` of each of them behind `argv`, looked at together while nothing is wrong. Raises Refusal."""
    check_command([*argv, *commands[0]], env, outputs)
    most = max(map(_length, commands)) + _length(argv) + _length([*env, *env.values()])
    fine = argv or all(command and command[0] for command in commands)
    if not fine or most > _SURELY or not _all_sayable(commands):
        for command in commands:
            check_command([*argv, *command], env, outputs)


def _length(command: Sequence[str]) -> int:
    return len(command) + sum(map(len, command))


def _all_sayable(commands: Sequence[Sequence[str]]) -> bool:
    text = "".join(chain.from_iterable(commands))
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def files_of(inputs: Sequence[Path | str]) -> dict[str, Path]:
    """Files and folders as relative POSIX names → files, in the order of the names: the same tree, the same inputs.

    What lies below the current folder keeps its relative name, so that a command reads as it does here; anything else
    keeps its last part. Raises Refusal for links that lead out of a given folder and for what is no file.
    """
    found: dict[str, Path] = {}
    for given in inputs:
        for name, path in _walk(Path(given), Path.cwd()):
            if found.setdefault(name, path) != path:
                raise Refusal(f"two inputs would both be {name}", f"{found[name]} and {path}", "rename one of them")
    return dict(sorted(found.items()))


def sayable(text: str, where: str) -> str:
    """`text`, if JSON and every database can carry it: neither NUL nor bytes that are no UTF-8. Raises Refusal."""
    remedy = _FILE if where.startswith(("argument ", "variable ")) else "choose another name"
    if "\0" in text:
        raise Refusal("the text holds a NUL byte", where, remedy)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refusal("the text is not UTF-8", f"{where}: {text!r}", remedy) from error
    return text


def _walk(given: Path, here: Path) -> Iterator[tuple[str, Path]]:
    sayable(str(given), "--input")
    path = Path(os.path.normpath(here / given))
    if not path.exists():
        raise Refusal("there is no such file or folder", f"--input {str(given)!r}", "check the path")
    name = path.relative_to(here) if path.is_relative_to(here) else Path(path.name)
    root = path.resolve()  # a link that was given by itself is followed
    if root.is_dir():
        yield from _folder(root, name, root)
    else:
        yield _entry(root, name, root)


def _folder(folder: Path, name: Path, root: Path) -> Iterator[tuple[str, Path]]:
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise Refusal(f"the folder can't be read: {error.strerror}", str(folder), "check its permissions") from error
    for entry in entries:
        path, below = Path(entry.path), name / entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _folder(path, below, root)
        else:
            yield _entry(path, below, root)


def _entry(path: Path, name: Path, root: Path) -> tuple[str, Path]:
    """A regular file, or a link to one that stays inside `root`."""
    real = path.resolve()
    if not real.is_relative_to(root):
        raise Refusal(f"the link points out of the input, to {real}", str(path), "copy the file, or give it by itself")
    if not real.exists():
        raise Refusal("the link points to nothing", str(path), "remove it, or leave it out")
    if not stat.S_ISREG(real.stat().st_mode):
        what = "the link points to a folder" if real.is_dir() else "this is neither a file nor a folder"
        raise Refusal(what, str(path), "leave it out")
    if len(sayable(name.as_posix(), "an input's name")) > NAME_LIMIT:
        raise Refusal(f"its name has more than {NAME_LIMIT} characters", str(path), "choose a shorter path")
    return name.as_posix(), real


def _below(pattern: str) -> None:
    path = Path(sayable(pattern, "--output"))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        what = f"{pattern!r} does not lie below the working folder"
        raise Refusal(what, "--output", "write a relative pattern, such as 'out/*.png'")


def _bounded(text: str, where: str) -> None:
    size = len(text.encode()) + 1
    if size > ARGUMENT_LIMIT:
        what = f"{size:,} bytes are more than the {ARGUMENT_LIMIT:,} that Linux hands to a program in one piece"
        raise Refusal(what, where, _FILE)


def _total(texts: Sequence[str]) -> None:
    """Bytes and pointers together stay below what exec takes, with a margin for what the executor adds."""
    size, limit = sum(len(text.encode()) + 9 for text in texts), os.sysconf("SC_ARG_MAX") - (16 << 10)
    if size > limit:
        what = f"command and environment are {size:,} bytes together, more than the {limit:,} that Linux takes"
        raise Refusal(what, "--", "put arguments into a file and give that with --input")
