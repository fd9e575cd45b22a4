"""`farm why`."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from farm.cli.options import HomeOption, JsonOption
from farm.cli.output import clean, emit, facts
from farm.cli.reach import reader
from farm.client import Client
from farm.refusal import NotFound, Refusal

KINDS = ("executor", "pool")


def why(
    about: Annotated[
        list[str], typer.Argument(metavar="JOB|TASK|ATTEMPT|EXECUTOR|POOL", help="17, 17.3, 17.3.2, or a name.")
    ],
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """A number is a job or task. A name is looked for among the executors, then among the pools; `pool NAME` or
    `executor ID` says which."""
    with reader(home) as client:
        found = _first(client, _paths(about))
    if json:
        emit(found)
        return 0
    print(clean(found["sentence"]))
    numbers = [(name, _listed(value)) for name, value in found["numbers"].items()]
    facts([("cause", found["cause"]), ("rule", found["rule"]), *numbers, ("next", found["next"])])
    return 0


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return " ".join(str(each) for each in value.values() if each not in (None, "", [], {}))
    return ", ".join(str(_listed(each) or "?") for each in value) if isinstance(value, list) else value


def _paths(about: list[str]) -> list[str]:
    """Where to ask, in order."""
    words = [quote(word, safe="") for word in about]
    if len(words) == 2 and words[0] in (*KINDS, "job", "task", "attempt"):
        return [f"/v1/why/{words[0]}/{words[1]}" if words[0] in KINDS else f"/v1/why/{words[1]}"]
    if len(words) != 1:
        raise Refusal("one thing at a time", " ".join(about), "such as `farm why 17` or `farm why pool local`")
    if not all(words):
        raise Refusal("the name is empty", "ABOUT", "name a job, task, executor or pool; see `farm jobs`")
    if words[0][0].isdigit() and words[0].replace(".", "").isdigit():
        return [f"/v1/why/{words[0]}"]
    return [f"/v1/why/{kind}/{words[0]}" for kind in KINDS]


def _first(client: Client, paths: list[str]) -> Any:
    """The first answer that is not 404."""
    for path in paths[:-1]:
        try:
            return client.get(path)
        except Refusal as refusal:
            if refusal.status != NotFound.status:
                raise
    return client.get(paths[-1])
