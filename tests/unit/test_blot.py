"""Secret words never come out, however the stream is cut; all else does."""

from hypothesis import given
from hypothesis import strategies as st

from executors.site.blot import MARK, Blot

pieces = st.lists(st.sampled_from([b"s3cret", b"s3", b"cret", b"s", b"3", b"\n", b"other", b"\xff"]), max_size=12)


def blotted(parts, *words):
    blot = Blot(words)
    return b"".join([*(blot.take(part) for part in parts), blot.rest()])


@given(pieces)
def test_it_is_the_same_however_the_stream_is_cut(parts):
    whole = b"".join(parts)
    assert blotted(parts, "s3cret") == whole.replace(b"s3cret", MARK)
    assert blotted([bytes([byte]) for byte in whole], "s3cret") == whole.replace(b"s3cret", MARK)


def test_what_can_be_no_secret_is_not_held_back():
    blot = Blot(["s3cret"])
    assert blot.take(b"working on it: 40 %") == b"working on it: 40 %"
    assert blot.take(b"the s3c") == b"the "
    assert blot.rest() == b"s3c"


def test_lines_of_a_secret_are_secrets_too():
    assert blotted([b"a BEGIN KEY b\nabcdef\n"], "BEGIN KEY\nabcdef\nEND\n") == b"a [secret] b\n[secret]\n"


def test_the_longest_of_several_wins():
    assert blotted([b"x abcdefgh y abcd z"], "abcd", "abcdefgh") == b"x [secret] y [secret] z"
