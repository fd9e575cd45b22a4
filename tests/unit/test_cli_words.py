"""What people type, and what they read: no farm is needed for any of this."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from farm.cli import hoist, main, needs, values
from farm.cli.commands import COMMANDS, overview
from farm.cli.get import safe
from farm.cli.logs import tame
from farm.cli.manual import commands_md
from farm.cli.output import clean
from farm.model import JobState, StepSpec, TaskState
from farm.refusal import Refusal

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("7", (7, 7, 1)), ("1-100", (1, 100, 1)), ("1-9:2", (1, 9, 2)), ("-3-4", (-3, 4, 1)), (" 0-0 ", (0, 0, 1))],
)
def test_ranges(text, wanted):
    assert tuple(values.array(text).values()) == wanted


@pytest.mark.parametrize("text", ["", "a", "1-", "5-1", "1-5:0", "1..5", "1-5:x"])
def test_no_ranges(text):
    with pytest.raises(Refusal, match="--array"):
        values.array(text)


def test_needs():
    assert needs.needs("cpu=2, memory=1.5G") == {"cpu": 2, "memory": 3 << 29}
    assert needs.needs(None) == {}
    assert needs.needs("gpus=1,dongle=2") == {"needs": {"gpus": 1, "dongle": 2}}
    assert needs.told("cpu=2", 2, 3, ["!ssd"]) == {"cpu": 2, "needs": {"gpus": 3}, "labels": ["!ssd"]}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("cpus=two", "cpu"),
        ("memry=1G", "memory"),
        ("cpu=x", "x"),
        ("cpu=0", "0"),
        ("", "empty"),
        ("gpu=x", "gpus"),
        ("a=0", "a=2"),
    ],
)
def test_wrong_needs_show_the_right_form(text, hint):
    with pytest.raises(Refusal, match=hint):
        needs.needs(text)


@pytest.mark.parametrize(("text", "wanted"), [("512", 512), ("1k", 1024), ("2GiB", 2 << 30), ("3mb", 3 << 20)])
def test_sizes(text, wanted):
    assert values.size(text, "--needs") == wanted


@pytest.mark.parametrize(
    ("path", "name"), [("/usr/bin/make", "make"), ("a\nb.pov", "a?b.pov"), ("x" * 300, "x" * 200), ("/", "job")]
)
def test_jobs_are_called_as_what_they_run(path, name):
    assert values.named_after(path) == name


def test_limits_are_the_fields_of_a_step():
    found = values.limits("10m", "90s", "2GiB", "1M", 100)
    assert found == {"timeout_s": 600, "silence_s": 90, "memory": 2 << 30, "output_bytes": 1 << 20, "processes": 100}
    assert StepSpec(argv=("true",), **found).processes == 100
    assert values.limits(None, None, None, None, None) == {}


def test_the_words_for_states_are_those_of_the_model():
    assert set(values.JOB_STATES) == set(JobState)
    assert set(values.TASK_STATES) == set(TaskState)


def test_environment_takes_a_bare_name_from_this_shell(monkeypatch):
    monkeypatch.setenv("HERE", "yes")
    assert values.environment(["A=1=2", "HERE"]) == {"A": "1=2", "HERE": "yes"}
    with pytest.raises(Refusal, match="NOWHERE"):
        values.environment(["NOWHERE"])


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "", ".", "a\0b"])
def test_outputs_never_leave_their_folder(name):
    with pytest.raises(Refusal):
        safe(name)


def test_logs_lose_what_a_terminal_would_obey():
    assert tame(b"a\x1b[2Jb\x1b]0;title\x07c\x1b]8;;x\x1b\\d\x07e\tf\r\n") == b"abcde\tf\r\n"
    assert tame("a\x9b2Jb".encode()) == b"a2Jb"
    assert tame("größe ✓".encode()) == "größe ✓".encode()


def test_names_lose_control_characters():
    assert clean("a\x1b[31mb\nc") == "a\\x1b[31mb\nc"


def test_home_and_json_may_stand_before_the_command():
    assert hoist(["--home", "h", "--json", "jobs", "--limit", "3"]) == ["jobs", "--home", "h", "--json", "--limit", "3"]
    assert hoist(["--json", "report", "cost"]) == ["report", "cost", "--json"]
    assert hoist(["--home=h", "submit", "--", "a", "--json"]) == ["submit", "--home=h", "--", "a", "--json"]


def test_the_overview_names_every_command(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert shown.strip() == overview()
    assert all((name in shown) != entry.hidden for name, entry in COMMANDS.items())


@pytest.mark.parametrize("name", [*COMMANDS])
def test_every_command_explains_itself_with_an_example(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert COMMANDS[name].examples[0] in shown
    assert "--json" in shown


@pytest.mark.parametrize("example", [example for entry in COMMANDS.values() for example in entry.examples])
def test_every_example_can_be_typed(example):
    """Its words are parsed, up to but not including the doing."""
    import shlex

    from farm.cli.group import command

    words = shlex.split(example.split(" > ")[0].split(" < ")[0])[1:]
    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    made = command(name, COMMANDS[name])
    assert made.make_context(name, words[len(name.split()) :])


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        (["sumbit", "true"], "farm submit"),
        (["report", "costs"], "farm report cost"),
        (["jobs", "--stat", "done"], "--state"),
        (["report", "cost", "--by", "ower"], "owner"),
        (["report"], "farm report usage"),
        (["submit"], "COMMAND"),
        (["submit", "--retries", "x", "true"], "--retries"),
        (["submit", "--priority", "101", "true"], "100"),
        (["show", "x17"], "17"),
        (["show", "17", "--state", "runing"], "did you mean running?"),
        (["get", "17.3.2"], "farm get 17.3"),
        (["jobs", "--state", "nope"], "queued"),
        (["jobs", "--state", "donne"], "did you mean done?"),
        (["jobs", "--owner", ""], "--owner"),
        (["submit", "--name", "", "true"], "--name"),
        (["submit", "--name", "x" * 201, "true"], "200"),
        (["submit", "--owner", " ", "true"], "--owner"),
        (["submit", "--needs", "", "true"], "cpu=2"),
        (["submit", "--needs", "cpu=" + "9" * 5000, "true"], "CPUs"),
        (["submit", "--needs", "memory=1G", "--memory", "2G", "true"], "twice"),
        (["submit", "--needs", "gpus=1", "--gpus", "2", "true"], "twice"),
        (["submit", "--label", "a b", "true"], "arch=arm64"),
        (["submit", "--timeout", "0", "true"], "leave --timeout out"),
        (["submit", "--timeout", "soon", "true"], "90s"),
        (["submit", "--silence", "0s", "true"], "leave --silence out"),
        (["submit", "--memory", "0", "true"], "512M"),
        (["submit", "--memory", "9" * 400, "true"], "512M"),
        (["submit", "--max-output", "-1", "true"], "--max-output"),
        (["submit", "--processes", "0", "true"], "--processes"),
        (["submit", "--array", "9" * 5000, "true"], "--array"),
        (["submit", "--after", "9" * 5000, "true"], "--after"),
        (["submit", "--after", "17.1", "true"], "such as 17"),
        (["submit", "--licence-wait", "1h", "true"], "--licence-exit"),
        (["submit", "--cwd", "\udcff", "true"], "--cwd"),
        (["submit", "--project", "a\0b", "true"], "NUL"),
        (["submit", "--", ""], "farm submit -- make"),
        (["submit", "--env", "=1", "true"], "NAME=VALUE"),
        (["submit", "--", "true", "x" * (128 << 10)], "--input"),
        (["submit", "--", "true", *["x" * 100_000] * 40], "--input"),
        (["submit", "--", "echo", "a\0b"], "NUL"),
        (["submit", "--", "echo", "\udcff"], "UTF-8"),
        (["submit", "--input", "/nowhere\n", "true"], "no such file"),
        (["submit", "--output", "../x", "true"], "relative"),
        (["submit", "--home"], "--home"),
        (["render", "nowhere.pov"], "can't be read"),
        (["render", "scene.txt"], ".pov"),
        (["render", "\udcff.pov"], "SCENE"),
        (["render", "scene.pov", "--out", "a\0b"], "--out"),
        (["render", "scene.pov", "--frames", "9-1", "--wait"], "1-9"),
        (["rebuild", "nowhere"], "nowhere"),
        (["rebuild", ".", "--changed", "HEAD"], "OLD..NEW"),
        (["wait", "no"], "17"),
        (["hook", "install", "/nowhere"], "git repository"),
        (["hook", "install", "a\0b"], "NUL"),
        (["logs", "17.0"], "17.3"),
        (["down", "--drian"], "--drain"),
        (["frobnicate"], "farm --help"),
        (["", "x"], "farm --help"),
    ],
)
def test_mistakes_are_answered_with_the_right_word(typed, near, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("FARM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scene.pov").write_text("sphere { 0, 1 }")
    (tmp_path / "scene.txt").touch()
    assert main(typed) == 2
    said = capsys.readouterr().err
    assert near in said
    assert said.count("\n") == 1
    assert not said.startswith("farm: farm")
    assert not (tmp_path / "home" / "farm.db").exists(), "it went on as far as the queue"


@pytest.mark.parametrize("home", ["", "a\0b", "~nobody-of-that-name/farm", "file/below"])
@pytest.mark.parametrize("words", [["jobs"], ["submit", "true"], ["submit", "--wait", "true"], ["up"], ["down"]])
def test_a_home_that_can_be_none_exits_3(words, home, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    status = main([*words[:1], "--home", home, *words[1:]])
    said = capsys.readouterr()
    assert status == (0 if words == ["down"] and home == "file/below" else 3)
    assert (said.err + said.out).count("\n") == 1
    assert "unexpected" not in said.err


def test_with_json_an_error_is_json_too(capsys):
    assert main(["jobs", "--json", "--nonsense"]) == 2
    assert set(json.loads(capsys.readouterr().out)["error"]) == {"what", "where", "remedy"}


def test_json_behind_the_dashes_belongs_to_the_submitted_command(capsys):
    assert main(["submit", "--array", "x", "--", "true", "--json"]) == 2
    assert capsys.readouterr().out == ""


def test_a_defect_leaves_its_traceback_in_the_home_and_not_on_the_screen(capsys, tmp_path, monkeypatch):
    def broken(_home):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("farm.cli.jobs.reader", broken)
    assert main(["jobs", "--home", str(tmp_path)]) == 3
    shown = capsys.readouterr()
    assert "ZeroDivisionError: by nothing" in shown.err
    assert "Traceback" not in shown.err
    assert "Traceback" in (tmp_path / "error.log").read_text()


def test_the_manual_is_that_of_these_commands():
    assert (ROOT / "docs" / "commands.md").read_text() == commands_md(), "python -m farm.cli.manual > docs/commands.md"


def test_submitting_imports_nothing_heavy():
    """Start-up time is felt; what is imported is what costs it."""
    script = (
        "import sys; from farm.cli import main; main(['submit', '--array', 'x', '--', 'true']);"
        "heavy = {'pydantic', 'rich', 'email', 'ssl', 'tempfile', 'sqlalchemy', 'fastapi', 'asyncio', 'ray', 'click'};"
        "heavy &= set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--array" in done.stderr
