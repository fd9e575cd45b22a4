"""What pydantic finds, in the farm's own words: what is wrong, and what to write instead."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

LONGEST = 60  # characters of what was given that are repeated

_TIME = ("{given} is no time", "write it like 2026-01-31T12:00:00Z")
_DURATION = ("{given} is no duration", "write it like 90s, 10m or 1h30m")
_WHOLE = ("{given} is no whole number", "write one such as 2")
_NUMBER = ("{given} is no number", "write one such as 0.5")
_OBJECT = ("{given} is no table of names and values", "")
_LIST = ("{given} is no list", "put it into brackets")

FORMS: dict[str, str] = {}
"""Pattern → what to write instead, for those who do not read patterns."""
_WORDS: Mapping[str, tuple[str, str]] = {
    "missing": ("{name} is missing", "add it"),
    "int": _WHOLE,
    "float": _NUMBER,
    "decimal": _NUMBER,
    "finite_number": _NUMBER,
    "bool": ("{given} is neither true nor false", "write one of the two"),
    "string_type": ("{given} is no text", "put it into quotes"),
    "string_unicode": ("{given} is not UTF-8", "leave out what is no text"),
    "string_too_short": ("{name} is empty", "give it a value, or leave it out"),
    "string_too_long": ("{name} has more than {max_length} characters", "choose a shorter one"),
    "string_pattern_mismatch": ("{given} is not of the right form", "it has to match {pattern}"),
    "too_short": ("{name} is empty", "name at least {min_length}"),
    "too_long": ("{name} is too long", "name at most {max_length}"),
    "greater_than_equal": ("{given} is too small", "write {ge} or more"),
    "greater_than": ("{given} is too small", "write more than {gt}"),
    "less_than_equal": ("{given} is too large", "write {le} or less"),
    "less_than": ("{given} is too large", "write less than {lt}"),
    "datetime": _TIME,
    "timezone": _TIME,
    "time_delta": _DURATION,
    "model": _OBJECT,
    "dict": _OBJECT,
    "mapping": _OBJECT,
    "tuple": _LIST,
    "list": _LIST,
    "json_invalid": ("the body is no JSON: {error}", "send a JSON object"),
}


def plain(found: Mapping[str, Any], name: str) -> tuple[str, str]:
    """(what, remedy) of one finding of pydantic's `ValidationError.errors()`; `name` is the key it is about."""
    kind, about = str(found["type"]), dict(found.get("ctx") or {})
    if kind in ("enum", "literal_error"):
        return _choice(found["input"], re.findall(r"'([^']*)'", str(about.get("expected", ""))))
    if kind == "value_error":
        return _split(str(about.get("error", found["msg"])))
    words = next((_WORDS[k] for k in sorted(_WORDS, key=len, reverse=True) if kind.startswith(k)), None)
    if words is None:
        return _split(f"{shown(found.get('input'))}: {found['msg'][:1].lower()}{found['msg'][1:]}")
    said = {**about, "name": name, "given": shown(found.get("input"))}
    if form := FORMS.get(str(about.get("pattern"))):
        words = words[0], form
    what, remedy = (text.format_map(said) for text in words)
    return what, remedy


def shown(value: object) -> str:
    """What was given, short enough for a sentence."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def nearest(word: str, known: Any) -> str:
    """`did you mean 'ceiling'?`, or what there is."""
    names = sorted(str(k) for k in known)
    close = get_close_matches(word, names, 1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names) or 'none'}"


def _choice(given: Any, known: list[str]) -> tuple[str, str]:
    close = get_close_matches(str(given), known, 1)
    return f"{shown(given)} is not known", f"did you mean {close[0]}?" if close else f"choose one of {', '.join(known)}"


def _split(text: str) -> tuple[str, str]:
    """Sentences of ours are `what; remedy`."""
    what, _, remedy = text.partition("; ")
    return what, remedy
