import os

import pytest

from farm.refusal import Refusal
from farm.workloads.command import ARGUMENT_LIMIT, check_command, check_commands, files_of


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "b c.txt").write_text("spaces")
    (tmp_path / "in" / "line\nend").write_text("newline")
    (tmp_path / "in" / "deep" / "run.sh").write_text("true")
    (tmp_path / "in" / "deep" / "run.sh").chmod(0o755)
    (tmp_path / "in" / "again").symlink_to("b c.txt")
    return tmp_path


def names(given):
    return list(files_of(given))


def test_a_folder_is_walked_in_order_and_links_inside_are_followed(tree):
    files = files_of([tree / "in"])
    assert list(files) == ["in/again", "in/b c.txt", "in/deep/run.sh", "in/line\nend"]
    assert files["in/again"] == tree / "in" / "b c.txt"


def test_inputs_below_the_current_folder_keep_the_names_they_have_here(tree):
    assert names(["in/deep/run.sh"]) == names([tree / "in/deep/run.sh"]) == ["in/deep/run.sh"]
    assert names(["in/deep"]) == names(["in/../in/deep"]) == ["in/deep/run.sh"]
    os.chdir(tree / "in" / "deep")
    assert names(["."]) == names(["run.sh", "run.sh"]) == ["run.sh"]
    assert names(["../b c.txt", ".."]) == ["b c.txt", "in/again", "in/b c.txt", "in/deep/run.sh", "in/line\nend"]


def test_a_link_that_is_given_by_itself_is_followed(tree):
    (tree / "here").symlink_to("in/deep")
    assert names(["here", "in/again"]) == ["here/run.sh", "in/again"]


def test_links_out_links_to_nothing_and_pipes_are_refused(tree):
    outside = tree / "outside"
    outside.write_text("")
    for make, said in (
        (lambda path: path.symlink_to(outside), "points out of"),
        (lambda path: path.symlink_to("nothing"), "points to nothing"),
        (lambda path: path.symlink_to("deep"), "points to a folder"),
        (os.mkfifo, "neither a file nor a folder"),
    ):
        odd = tree / "in" / "odd"
        make(odd)
        with pytest.raises(Refusal, match=said):
            names([tree / "in"])
        odd.unlink()


def test_what_is_missing_or_named_twice_is_refused(tree):
    (tree / "other").mkdir()
    (tree / "other" / "run.sh").write_text("")
    os.chdir(tree / "other")
    with pytest.raises(Refusal, match="no such file"):
        names(["nothing"])
    with pytest.raises(Refusal, match=r"both be run\.sh"):
        names(["run.sh", tree / "in" / "deep" / "run.sh"])


def test_an_undecodable_name_is_refused(tree):
    (tree / "in" / os.fsdecode(b"\xff")).write_text("")
    with pytest.raises(Refusal, match="not UTF-8"):
        names([tree / "in"])


@pytest.mark.parametrize(
    ("argv", "rest", "said"),
    [
        ([], {}, "no command"),
        ([""], {}, "no command"),
        (["echo", "a\0b"], {}, "NUL"),
        (["echo", "\udcff"], {}, "not UTF-8"),
        (["echo", "x" * ARGUMENT_LIMIT], {}, "give that with --input"),
        (["echo", *["x" * (ARGUMENT_LIMIT - 1)] * 400], {}, "together"),
        (["echo"], {"env": {"A": "x" * ARGUMENT_LIMIT}}, "variable A"),
        (["echo"], {"env": {"": "x"}}, "NAME=VALUE"),
        (["echo"], {"env": {"A=B": "x"}}, "NAME=VALUE"),
        (["echo"], {"outputs": ["/etc/passwd"]}, "below the working folder"),
        (["echo"], {"outputs": ["../*"]}, "below the working folder"),
        (["echo"], {"outputs": [""]}, "below the working folder"),
    ],
)
def test_what_no_executor_could_start_is_refused_at_once(argv, rest, said):
    with pytest.raises(Refusal, match=said):
        check_command(argv, **{"env": {}, **rest})


def test_the_longest_argument_linux_takes_is_taken():
    argument = "x" * (ARGUMENT_LIMIT - 1)
    assert os.spawnv(os.P_WAIT, "/bin/true", ["true", argument]) == 0
    check_command(["true", argument], {"A": "b"}, ["out/*.png", "*"])


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ([["a"], ["b\0"]], "NUL"),
        ([["a"], ["\ud800"]], "not UTF-8"),
        ([["a"], ["x" * ARGUMENT_LIMIT]], "in one piece"),
        ([["a"], ["x" * (ARGUMENT_LIMIT - 1)] * 20], "together"),
    ],
)
def test_the_one_that_no_executor_could_start_is_found_among_many(commands, said):
    with pytest.raises(Refusal, match=said):
        check_commands(["echo"], commands, {})


def test_many_commands_may_be_whole_or_rests(tree):
    check_commands([], [["a"], ["b", ""]], {})
    check_commands(["echo"], [["a"], []], {})
    with pytest.raises(Refusal, match="no command"):
        check_commands([], [["a"], [""]], {})
    with pytest.raises(Refusal, match="together"):
        check_commands(["a"], [["b"], ["x" * 100_000]], {f"V{n}": "y" * 120_000 for n in range(17)})
