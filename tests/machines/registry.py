"""The internet as machines of the bench see it: a Python package index and a Debian repository, on the router."""

import contextlib
import html
import re
import socket
import threading
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

from tests.machines.netspace import NetSpace


class _Shelf(SimpleHTTPRequestHandler):
    """/simple/NAME/ lists the wheels of NAME; everything else is a file."""

    def do_GET(self) -> None:
        if found := re.fullmatch(r"/simple/([^/]+)/", self.path):
            self._index(found[1])
        else:
            super().do_GET()

    def _index(self, name: str) -> None:
        wanted = re.sub(r"[-_.]+", "_", name).lower()
        shelf = Path(self.directory) / "wheels"
        names = sorted(
            w.name for w in shelf.iterdir() if re.sub(r"[-_.]+", "_", w.name.split("-")[0]).lower() == wanted
        )
        links = "".join(f'<a href="/wheels/{html.escape(name)}">{html.escape(name)}</a>\n' for name in names)
        body = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
        self.send_response(200 if names else 404)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.copyfile(BytesIO(body), self.wfile)

    def log_message(self, *_words: Any) -> None:
        """Quiet."""


class Registry:
    """Serves a folder on port 80 of a namespace until `close`; `folder` is called when somebody asks for something: it
    may have to be made first."""

    def __init__(self, space: NetSpace, folder: Callable[[], Path]) -> None:
        def shelf(*words: Any) -> _Shelf:
            return _Shelf(*words, directory=str(folder()))

        self._server = ThreadingHTTPServer(("", 80), shelf, bind_and_activate=False)
        self._server.socket.close()
        with space.entered():
            self._server.socket = socket.create_server(("0.0.0.0", 80))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)
