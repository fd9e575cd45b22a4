"""What a task needs, as people type it, and as the API wants it."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from farm.cli import values
from farm.refusal import Refusal

NEEDS = ("cpu", "memory", "gpus")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_LABEL = re.compile(r"!?[A-Za-z][A-Za-z0-9_.-]{0,62}|[A-Za-z][A-Za-z0-9_.-]{0,62}!?=[A-Za-z0-9_.+:-]{0,100}")
_COUNT = re.compile(r"[0-9]{1,15}")
_FORM = "write it like cpu=2,memory=4G,gpus=1"


def needs(text: str | None) -> dict[str, Any]:
    """`cpu=2,memory=4G,gpus=1,dongle=1`: the fields cpu (count), memory (bytes) and needs (name → count) of a step."""
    made: dict[str, Any] = {}
    others: dict[str, int] = {}
    for part in map(str.strip, [] if text is None else text.split(",")):
        name, sign, value = part.partition("=")
        if (
            not _NAME.fullmatch(name)
            or not sign
            or (name not in NEEDS and _meant(name) and not _COUNT.fullmatch(value))
        ):
            near = _meant(name)
            remedy = f"did you mean {near}? such as cpu=2,memory=4G" if near else _FORM
            raise Refusal(f"no need is called {name[:100]!r}" if name else "a need is empty", "--needs", remedy)
        if name == "memory":
            made[name] = values.size(value, "--needs")
        else:
            (made if name == "cpu" else others)[name] = _count(name, value)
    return made | ({"needs": others} if others else {})


def _meant(name: str) -> str:
    """What a name is near to. It may be an amount of farm.toml all the same: the farm knows."""
    near = get_close_matches(name, NEEDS, 1, 0.75)
    return near[0] if near else ""


def _count(name: str, text: str) -> int:
    if not _COUNT.fullmatch(text) or int(text) < 1:
        what = "CPUs" if name == "cpu" else name
        raise Refusal(f"{text[:40]!r} is no number of {what}", "--needs", f"write it like {name}=2")
    return int(text)


def labels(given: Sequence[str]) -> list[str]:
    """`arch=arm64`, `arch!=arm64`, `ssd`, `!ssd`."""
    for text in given:
        if not _LABEL.fullmatch(text):
            remedy = "write it like arch=arm64, arch!=arm64, ssd (has it) or !ssd (has it not)"
            raise Refusal(f"{text[:100]!r} is no label", "--label", remedy)
    return list(given)


def told(given: str | None, cpus: int | None, gpus: int | None, label: Sequence[str]) -> dict[str, Any]:
    """Fields of a step. Raises Refusal for what is said twice, and differs."""
    made, short = needs(given), {"cpu": cpus, "gpus": gpus}
    amounts = {**made.pop("needs", {}), **{name: made[name] for name in ("cpu",) if name in made}}
    for name, n in short.items():
        if n is not None and amounts.setdefault(name, n) != n:
            option = "--cpus" if name == "cpu" else "--gpus"
            raise Refusal(f"{name} is given twice, and differs", f"--needs and {option}", "leave one of them out")
    cpu = amounts.pop("cpu", None)
    found = made | ({"cpu": cpu} if cpu else {}) | ({"needs": amounts} if amounts else {})
    return found | ({"labels": labels(label)} if label else {})
