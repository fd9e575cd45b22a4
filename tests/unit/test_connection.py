"""HTTP/1.1 as other servers may speak it, too: answers byte by byte, from a socket that is told what to say."""

import io
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.client import Client, UnixTransport, Unreachable
from farm.connection import Connection, Garbled, Gone, unix

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Says:
    """Accepts connections; each gets the answers of one list, one per request head, then is closed."""

    def __init__(self, path: Path) -> None:
        self.path, self.heads, self.answers = path, [], []
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            taken, _ = self._listening.accept()
            with taken, taken.makefile("rb") as said:
                if not self.answers:
                    return
                for answer in self.answers.pop(0):
                    head = b"".join(iter(said.readline, b"\r\n"))
                    self.heads.append(head)
                    taken.sendall(answer)

    def close(self) -> None:
        self.answers.clear()
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
        self._thread.join()
        self._listening.close()


@pytest.fixture
def says() -> Iterator[Says]:
    with tempfile.TemporaryDirectory(prefix="fc-") as folder:
        made = Says(Path(folder, "s"))
        yield made
        made.close()


@pytest.fixture
def connection(says) -> Iterator[Connection]:
    made = Connection(unix(says.path), 20)
    yield made
    made.close()


def get(connection: Connection, method: str = "GET"):
    return connection.ask(method, "/x", {"Accept": "*/*"}, None)


def test_chunks_are_put_together_and_the_connection_goes_on(says, connection):
    says.answers = [
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n", OK]
    ]
    status, headers, body = get(connection)
    assert (status, headers, body.read(4), body.read()) == (200, {"transfer-encoding": "chunked"}, b"abcd", b"e")
    assert get(connection)[2].read() == b"ok"
    assert says.heads[0] == b"GET /x HTTP/1.1\r\nHost: farm\r\nAccept: */*\r\n"


def test_a_body_that_was_not_read_costs_a_new_connection(says, connection):
    says.answers = [[OK], [OK]]
    get(connection)
    assert get(connection)[2].read() == b"ok"


def test_after_connection_close_another_one_is_made(says, connection):
    says.answers = [[OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")], [OK]]
    assert [get(connection)[2].read() for _ in range(2)] == [b"ok", b"ok"]


def test_without_a_length_the_end_is_the_end(says, connection):
    says.answers = [[b"HTTP/1.0 200 OK\r\n\r\nall there is"], [OK]]
    assert get(connection)[2].read() == b"all there is"
    assert get(connection)[2].read() == b"ok"


def test_heads_and_empty_answers_have_no_body(says, connection):
    says.answers = [[b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n", OK]]
    assert get(connection, "HEAD")[2].read() == b""
    assert get(connection)[2].read() == b""
    assert get(connection)[2].read() == b"ok"


def test_an_answer_that_comes_before_all_was_sent_is_read(says, connection):
    says.answers = [[b"HTTP/1.1 507 Full\r\nContent-Length: 4\r\n\r\nfull"]]
    size = 64 << 20  # more than any socket's buffer
    status, _, body = connection.ask("PUT", "/x", {"Content-Length": str(size)}, io.BytesIO(bytes(size)))
    assert (status, body.read()) == (507, b"full")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", Gone),
        (b"HTTP/1.1 200 OK\r\nContent-Le", Gone),
        (b"SSH-2.0-x\r\n", Garbled),
        (b"HTTP/1.1 abc\r\n\r\n", Garbled),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", Gone),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", Garbled),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", Gone),
    ],
)
def test_half_an_answer_is_none(says, connection, answer, error):
    says.answers = [[answer]]
    with pytest.raises(error):
        get(connection)[2].read()


def test_a_farm_that_goes_away_in_the_middle_is_unreachable(says):
    says.answers = [[b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut"]]
    with Client(UnixTransport(says.path), "secret") as client, pytest.raises(Unreachable, match="went away"):
        client.get("/v1/status")
