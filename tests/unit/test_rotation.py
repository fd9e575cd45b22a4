"""Several rotate at once, and a certificate comes in halves: there is always one that works, and nobody is cut off."""

import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from farm.certificates import Certificates
from farm.clock import SystemClock
from farm.tls import Authority, Rotated

NAMES = {"localhost", "127.0.0.1"}


def test_rotations_come_one_after_the_other(tmp_path):
    folder = tmp_path / "tls"
    first = Authority(folder, "f", SystemClock())
    first.ready(NAMES)
    begin = first.fingerprint()

    def rotate(_number: int) -> Rotated:
        own = Authority(folder, "f", SystemClock())
        made = own.rotate()
        own.ready(NAMES)
        return made

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(rotate, range(24)))
    follows = {one.old: one.new for one in made}
    assert len(follows) == len(made)  # each stands under another one
    for _ in made:
        begin = follows[begin]
    assert begin == first.fingerprint()
    first.ready(NAMES)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(first.server_file)
    assert {file.name for file in folder.iterdir()} == {"authority.pem", "ca.pem", "cross.pem", "server.pem"}


class Halves:
    """Is there anew once, and can be read at the second look."""

    def __init__(self, authority: Authority) -> None:
        self._authority, self.bad, self.news = authority, False, False

    def renewed(self) -> bool:
        now, self.news = self.news, False
        return now

    def load(self, context: ssl.SSLContext) -> None:
        if self.bad:
            raise ssl.SSLError("key values mismatch")
        context.load_cert_chain(self._authority.server_file)

    def ca(self) -> str:
        return self._authority.ca()


@pytest.fixture
def halves(tmp_path: Path) -> Halves:
    authority = Authority(tmp_path / "tls", "f", SystemClock())
    authority.ready(NAMES)
    return Halves(authority)


def test_what_could_not_be_read_is_read_at_the_next_look(halves):
    shown = Certificates(halves)
    assert not shown.refresh()
    halves.news = halves.bad = True
    assert not shown.refresh()
    assert not shown.refresh()
    halves.bad = False
    assert shown.refresh()
    assert not shown.refresh()
