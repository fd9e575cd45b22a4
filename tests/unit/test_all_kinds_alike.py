"""Nothing in the farm or its policy is decided by the name of a provider: what differs is said by itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from executors import registry

ROOT = Path(__file__).parents[2]
RIVALS = ROOT / "farm/simulate/contest.py"  # one of its rules is called static, and is no provider
WORDS = ("startswith", "endswith", "removeprefix")


def decided_by_name(text: str) -> Iterator[int]:
    """Lines where something is compared with, or matched against, the name of a provider."""
    names = set(registry.known())
    for node in ast.walk(ast.parse(text)):
        about: list[ast.expr | ast.pattern] = []
        if isinstance(node, ast.Compare):
            about = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            about = [node.value]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WORDS:
            about = [*node.args]
        found = (one.value for part in about for one in ast.walk(part) if isinstance(one, ast.Constant))
        if any(isinstance(value, str) and value in names for value in found):
            yield getattr(node, "lineno", 0)


def test_no_provider_is_known_by_its_name() -> None:
    files = [file for name in ("farm", "schedules") for file in (ROOT / name).rglob("*.py") if file != RIVALS]
    assert len(files) > 100
    assert [f"{file.relative_to(ROOT)}:{line}" for file in files for line in decided_by_name(file.read_text())] == []


@pytest.mark.parametrize("line", ["x = pool.provider == 'ec2'", "x = kind in ('static', 'a')", "p.startswith('local')"])
def test_a_name_would_be_seen(line: str) -> None:
    assert list(decided_by_name(line)) == [1]


def test_what_providers_say_of_themselves() -> None:
    names = [*registry.known(), "nobody-knows-this"]
    assert [name for name in names if registry.shares_devices(name)] == ["local"]
    assert [name for name in names if registry.joins(name)] == ["static"]
