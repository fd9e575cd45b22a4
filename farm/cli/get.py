"""`farm get`: the files a job produced, never outside the folder they were asked into."""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer

from farm.cli.logs import OVER
from farm.cli.options import HomeOption, JsonOption, RefArgument
from farm.cli.output import emit, one_line, say
from farm.cli.reach import reader
from farm.client import Client
from farm.reference import Reference, parse_reference
from farm.refusal import Refusal


def get(
    ref: RefArgument,
    dest: Annotated[str | None, typer.Argument(metavar="[DEST]", help="Folder; else job-17.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that differ.")] = False,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Stay until the job ends, and fetch what comes as it comes.")
    ] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """When several tasks produced a file of the same name, each is put into a folder named by its task's number; with
    --follow each but the first that comes."""
    about = parse_reference(ref)
    if about.ordinal is not None:
        task = f"{about.job}.{about.number}"
        raise Refusal(f"{about} is an attempt, and only tasks have outputs", "JOB", f"type `farm get {task}`")
    folder = Path(dest or f"job-{about.job}")
    with reader(home) as client:
        fetching = Fetching(folder, overwrite)
        if follow and client.running:
            _follow(client, about, fetching)
        else:
            fetching.all(client, _placed(list(_outputs(client, about))))
    files = fetching.fetched
    if not files:
        say(f"{about} has no outputs{'' if follow else ' so far'}; they are named at submit with --output")
    if json:
        emit({"folder": str(folder), "files": [{**file, "path": name} for name, file in files.items()]})
    else:
        for name in files:
            print(one_line(str(folder / name)))
    return 0


def _follow(client: Client, about: Reference, fetching: "Fetching") -> None:
    """Up to the end of the job, or of the one task."""
    from farm.cli.wait import changes, patience

    client.bear(patience())
    for state in changes(client, about.job):
        for task in state["finished_tasks"]:
            if about.number is None or task["ref"] == str(about):
                fetching(client, task)
        if about.number is not None and client.get(f"/v1/tasks/{about}")["state"] in OVER:
            fetching(client, client.get(f"/v1/tasks/{about}"))
            return


def _outputs(client: Client, about: Reference) -> Iterator[tuple[str, dict[str, Any]]]:
    """Task number and file of everything that was accepted."""
    if about.number is not None:
        task = client.get(f"/v1/tasks/{about.job}.{about.number}")
        yield from ((str(about.number), file) for file in task["outputs"])
        return
    offset = 0
    while tasks := client.get(f"/v1/jobs/{about.job}/tasks", limit=500, offset=offset)["tasks"]:
        for task in tasks:
            yield from ((task["ref"].split(".")[1], file) for file in task["outputs"])
        offset += len(tasks)


def _placed(outputs: list[tuple[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Relative name → file; names that would clash get their task's number in front."""
    contents: dict[str, set[str]] = {}
    for _, file in outputs:
        contents.setdefault(file["path"], set()).add(file["digest"])
    return {
        safe(f"{number}/{file['path']}" if len(contents[file["path"]]) > 1 else file["path"]): file
        for number, file in outputs
    }


def safe(name: str) -> str:
    """`name`, if it stays below the folder it is joined to. Raises Refusal."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise Refusal(
            f"an output is called {name!r}", "which is outside of the folder", "fetch it by hand if you trust it"
        )
    return str(path)


class Fetching:
    """Fetches outputs into a folder; a name that another task took already gets its task's number in front."""

    def __init__(self, folder: Path, overwrite: bool) -> None:
        self._folder, self._overwrite = folder, overwrite
        self.fetched: dict[str, dict[str, Any]] = {}  # by the name it has in the folder

    def __call__(self, client: Client, task: Any) -> None:
        """The outputs of a task that ended."""
        for file in task["outputs"]:
            name = safe(file["path"])
            if self.fetched.get(name, file)["digest"] != file["digest"]:
                name = safe(f"{task['ref'].split('.')[1]}/{file['path']}")
            self._one(client, name, file)

    def all(self, client: Client, files: dict[str, dict[str, Any]]) -> None:
        for name, file in files.items():
            self._one(client, name, file)

    def _one(self, client: Client, name: str, file: dict[str, Any]) -> None:
        _fetch(client, file, self._folder, name, self._overwrite)
        self.fetched[name] = file


def _fetch(client: Client, file: dict[str, Any], folder: Path, name: str, overwrite: bool) -> None:
    target = folder / name
    _folder_for(target, folder)
    if target.is_symlink() or target.exists():
        if not target.is_symlink() and target.is_file() and _digest(target) == file["digest"]:
            return
        if target.is_dir() and not target.is_symlink():
            raise Refusal("there is a folder of that name", str(target), "choose another folder")
        if not overwrite:
            raise Refusal("there is another file of that name", str(target), "choose another folder, or --overwrite")
    try:
        _replace(client, file, target)
    except OSError as error:
        raise Refusal(
            f"can't be written: {error.strerror}", str(target), "make room, or choose another folder"
        ) from error


def _replace(client: Client, file: dict[str, Any], target: Path) -> None:
    """Whole or not at all."""
    descriptor, partial = tempfile.mkstemp(dir=target.parent, prefix=".farm-")
    try:
        with os.fdopen(descriptor, "wb") as into:
            client.download(file["digest"], into)
        _verify(Path(partial), file)
        os.chmod(partial, file["mode"] & 0o777)
        os.replace(partial, target)
    except BaseException:
        os.unlink(partial)
        raise


def _folder_for(target: Path, folder: Path) -> None:
    """Make the folders above `target`; none of them may be a link that leads elsewhere."""
    make_folder(folder)
    root = folder.resolve()
    for above in reversed(target.relative_to(folder).parents):
        step = folder / above
        if not step.resolve().is_relative_to(root):  # looked at before anything is made behind it
            raise Refusal("a link leads out of the folder", str(step), "choose another folder")
        make_folder(step)


def make_folder(path: Path) -> None:
    """Raises Refusal where there can't be one that may be written into."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise Refusal(f"can't write into the folder: {error.strerror}", str(path), "choose another one") from error


def _digest(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(path: Path, file: dict[str, Any]) -> None:
    if _digest(path) != file["digest"]:
        raise Refusal(f"{file['path']} arrived damaged", "", "try again; `farm doctor` checks the store")
