"""Where secrets come from, and what is said when they do not."""

from queue import Queue

import pytest

from executors.contract import Work
from farm.secret import Unreadable, read
from farm.secret_reader import SecretReader


def test_a_file_without_its_last_line_feed(tmp_path):
    (tmp_path / "key").write_text("s3cret\n")
    assert read(f"file:{tmp_path}/key") == "s3cret"
    assert read("env:KEY", {"KEY": "from the service"}) == "from the service"


@pytest.mark.parametrize("content", [b"", b"abc\n", b"\xff\xfe\xfd\xfc", b"a\0bcd", b"x" * 70_000])
def test_what_can_not_be_one(tmp_path, content):
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(Unreadable) as why:
        read(f"file:{tmp_path}/key")
    assert "abc" not in str(why.value).removeprefix(f"file:{tmp_path}")


def test_what_is_not_there_is_the_reason_why_the_work_does_not_begin(tmp_path):
    passed = Queue()
    reader = SecretReader(passed.put)
    for reference, words in (
        (f"file:{tmp_path}/none", "can't be read by the service: No such file"),
        ("env:NONE_SUCH", "no such variable"),
    ):
        reader.hand({"e1": [Work("1.1.1", 1, 1, ("true",), secrets={"KEY": reference})]})
        (work,) = passed.get(timeout=30)["e1"]
        assert (words in work.unready, work.hopeless) == (True, True)
        assert work.secrets == {}
    reader.close()
