"""What people type behind options, as the API wants it. Every refusal shows the right form."""

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from farm.durations import BadDuration, parse_duration
from farm.refusal import Refusal
from farm.sizes import BadSize, parse_size
from farm.workloads.command import NAME_LIMIT, sayable

_RANGE = re.compile(r"(-?[0-9]{1,15})(?:-(-?[0-9]{1,15}))?(?::([0-9]{1,15}))?")
_COUNT = re.compile(r"[0-9]{1,15}")
JOB_STATES = ("held", "queued", "running", "done", "failed", "cancelled")
TASK_STATES = ("blocked", "ready", "running", "done", "failed", "cancelled", "skipped")
TOKENS = ("{index}", "{frame}", "{first}", "{last}", "{step}")


def array(text: str, option: str = "--array") -> dict[str, int]:
    """`1-100`, `1-100:2`, `7`."""
    match = _RANGE.fullmatch(text.strip())
    if not match:
        raise Refusal(f"{text!r} is no range", option, "write it like 1-100, or 1-100:2 for every second one")
    first, last, step = match.groups()
    made = {"first": int(first), "last": int(last or first), "step": int(step or 1)}
    if made["step"] < 1 or made["last"] < made["first"]:
        raise Refusal(f"{text!r} holds nothing", option, "write FIRST-LAST with FIRST not above LAST, steps from 1")
    return made


def licences(given: Sequence[str]) -> dict[str, int]:
    """`maya`, `nuke=2`: name → how many."""
    found: dict[str, int] = {}
    for text in given:
        called, _, count = text.partition("=")
        if not called or (count and (not _COUNT.fullmatch(count) or int(count) < 1)):
            raise Refusal(f"{text[:40]!r} is no licence", "--licence", "write it like NAME or NAME=2")
        found[called] = found.get(called, 0) + int(count or 1)
    return found


def size(text: str, option: str) -> int:
    """`4G`, `512M`, `1.5GiB`, bytes; powers of 1024. Nothing is no size."""
    try:
        found = parse_size(text)
    except (BadSize, OverflowError) as error:
        raise Refusal(f"{text[:40]!r} is no size", option, "write it like 512M or 4G") from error
    if not 0 < found < 1 << 52:
        raise Refusal(f"{text[:40]!r} is no possible size", option, f"write it like 512M, or leave {option} out")
    return found


def seconds(text: str, option: str) -> float:
    """`90s`, `10m`, `1h30m`. No time at all is none."""
    try:
        found = parse_duration(text).total_seconds()
    except BadDuration as error:
        what, _, remedy = str(error).partition("; ")
        raise Refusal(what, option, remedy) from error
    if found <= 0:
        raise Refusal(f"{text!r} is no time at all", option, f"write it like 10m, or leave {option} out for no limit")
    return found


def limits(
    timeout: str | None, silence: str | None, memory: str | None, max_output: str | None, processes: int | None
) -> dict[str, Any]:
    """What ends a task: the fields of a step, those that were given."""
    made = {
        "timeout_s": None if timeout is None else seconds(timeout, "--timeout"),
        "silence_s": None if silence is None else seconds(silence, "--silence"),
        "memory": None if memory is None else size(memory, "--memory"),
        "output_bytes": None if max_output is None else size(max_output, "--max-output"),
        "processes": processes,
    }
    return {name: value for name, value in made.items() if value is not None}


def name(text: str | None, option: str) -> str | None:
    """A name of something, if one was given: neither empty nor longer than 200, nothing that JSON can't carry."""
    if text is None:
        return None
    if not text.strip():
        raise Refusal("the name is empty", option, f"give one, or leave {option} out")
    if len(sayable(text, option)) > NAME_LIMIT:
        raise Refusal(f"the name has more than {NAME_LIMIT} characters", option, "choose a shorter one")
    return text


def named_after(path: str) -> str:
    """A job is called as its program or scene, as far as that can be a name."""
    plain = "".join(c if c.isprintable() else "?" for c in os.path.basename(path))
    return plain[:NAME_LIMIT].strip() or "job"


def choice(text: str | None, known: Sequence[str], option: str) -> str | None:
    """One of `known`, if anything was given."""
    if text is None or text in known:
        return text
    near = get_close_matches(text, known, 1)
    remedy = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}"
    raise Refusal(f"{text!r} is not known", option, remedy)


def environment(pairs: Sequence[str]) -> dict[str, str]:
    """`K=V`; a bare `K` takes the value of this shell."""
    made: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not (equals or name in os.environ):
            raise Refusal(f"{pair!r} is no variable", "--env", "write NAME=VALUE, or the NAME of one that is set here")
        made[name] = value if equals else os.environ[name]
    return made


_SECRET = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,99})=(file|env):([^\x00-\x1f]+)")


def secrets(texts: Sequence[str]) -> dict[str, str]:
    """`K=file:PATH` or `K=env:NAME`; the path is made absolute here."""
    made: dict[str, str] = {}
    for text in texts:
        match = _SECRET.fullmatch(text)
        if not match:  # whoever typed the secret itself does not want to read it again
            raise Refusal(
                "that does not say where a secret is", "--secret", "write NAME=file:PATH, or NAME=env:VARIABLE"
            )
        name, kind, place = match.groups()
        made[name] = f"{kind}:{os.path.abspath(os.path.expanduser(place)) if kind == 'file' else place}"
    return made


def positive(text: str, option: str) -> int:
    """A job's number."""
    if not _COUNT.fullmatch(text) or int(text) < 1:
        raise Refusal(f"{text[:40]!r} is no job", option, "write its number, such as 17; see `farm jobs`")
    return int(text)
