"""`sync` over a Unix socket, or over HTTPS: one call, one answer."""

import http.client
import socket
from pathlib import Path

from executors.reach import Reach, retry_after
from executors.site.protocol import CONTENT_TYPE, Answer, Report, decode_answer, encode_report

FAR_PATIENCE_S = 15.0  # the same over a path that may die without a word
PATIENCE_S = 30.0  # beyond the time the farm may take by agreement


class Away(Exception):
    """The farm did not answer, or not in our words; the text says what happened. `retry_s`: it wants to be left alone
    for so long."""

    def __init__(self, what: str, retry_s: float = 0.0) -> None:
        super().__init__(what)
        self.retry_s = retry_s


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("farm", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Channel:
    """One kept-alive connection; for one thread."""

    def __init__(self, path: str, token: Path, site: str, wait_s: float) -> None:
        self._token, self._target = token, f"/v1/sites/{site}/sync"
        self._connection: http.client.HTTPConnection = _Connection(path, wait_s + PATIENCE_S)

    @classmethod
    def far(cls, reach: Reach, site: str, wait_s: float) -> "Channel":
        """To a farm elsewhere, over HTTPS. Raises BadAddress."""
        made = cls("", Path(reach.token), site, wait_s)
        made._target = reach.prefix + made._target
        made._connection = reach.connection(wait_s + FAR_PATIENCE_S)
        return made

    def call(self, report: Report) -> Answer:
        """Raises Away; the next call connects anew."""
        try:
            headers = {"Authorization": f"Bearer {self._token.read_text().strip()}", "Content-Type": CONTENT_TYPE}
            self._connection.request("POST", self._target, encode_report(report), headers)
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Away(f"{type(error).__name__}: {error}") from error
        if response.status != 200:
            raise Away(f"{response.status} {body[:200].decode(errors='replace')}", retry_after(response))
        try:
            return decode_answer(body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Away(f"an answer that is none of ours: {error}") from error

    def close(self) -> None:
        self._connection.close()
