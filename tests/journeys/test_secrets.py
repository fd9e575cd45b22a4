"""Secrets by reference: the task has them, nothing that is kept or shown does."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.shell import Shell

WORD = "hunter2-and-more"
SPELL = 'echo "key $KEY"; printf "%s" "$KEY" | wc -c; printf hunter2; sleep 0.3; printf -- "-and-more\\n"'


@pytest.fixture(scope="module")
def farm() -> Iterator[Shell]:
    with tempfile.TemporaryDirectory(prefix="fs-") as folder:
        home, work = Path(folder, "home"), Path(folder, "work")
        home.mkdir()
        work.mkdir()
        (home / "farm.toml").write_text('[site]\nengine = "plain"\n')
        (work / "key").write_text(WORD + "\n")
        shell = Shell(home, work)
        shell("up")
        yield shell
        shell("down")


def files_with(folder: Path, word: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


def test_a_task_has_its_secret_and_nothing_else_shows_it(farm):
    said = farm("submit", "--wait", "--secret", "KEY=file:key", "--", "sh", "-c", SPELL)
    assert said == f"key [secret]\n{len(WORD)}\n[secret]\n"
    job = farm.json("jobs")["jobs"][0]["id"]
    shown = [farm("logs", str(job)), farm("show", f"{job}.1", "--json"), farm("show", str(job), "--json")]
    assert not [text for text in shown if WORD in text]
    assert files_with(farm.home, WORD) == []


def test_a_secret_that_is_not_there_fails_the_job_with_a_reason(farm):
    farm("submit", "--wait", "--secret", "KEY=file:nowhere", "--", "true", status=1)
    assert "the secret file:" in farm.err
    assert "No such file" in farm.err


def test_a_secret_typed_itself_is_refused_and_not_repeated(farm):
    farm("submit", "--secret", f"KEY={WORD}", "--", "true", status=2)
    assert WORD not in farm.err
    assert "NAME=file:PATH" in farm.err
