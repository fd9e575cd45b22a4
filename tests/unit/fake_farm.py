"""A farm that machines can reach over TLS, as far as they need one while they boot."""

import datetime as dt
import io
import ipaddress
import json
import ssl
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority:
    """A certificate authority; `pem` is what machines are given."""

    def __init__(self, name: str = "a farm's own") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._signed(self._name, self._key, x509.BasicConstraints(True, 0))
        self.pem = self._certificate.public_bytes(Encoding.PEM).decode()

    def _signed(self, name, key, extension, *, late: int = 0) -> x509.Certificate:
        now = dt.datetime(2000, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=late)  # whatever the clock here says
        made = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number())
        made = made.not_valid_before(now).not_valid_after(now + dt.timedelta(days=365000))
        return made.add_extension(extension, True).sign(self._key, hashes.SHA256())

    def context(self, folder: Path, *, late: int = 0) -> ssl.SSLContext:
        """For a server at 127.0.0.1; `late`: days after 2000 from which it is valid."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "farm")])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        made = self._signed(name, key, address, late=late)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
        folder.joinpath("server.pem").write_bytes(pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        return context


def program(source: str) -> bytes:
    """A zip that Python runs."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("__main__.py", source)
    return made.getvalue()


class FakeFarm:
    """Serves `program` after it has answered with each of `before`; `failed` is what machines told."""

    def __init__(self, folder: Path, program: bytes, authority: Authority | None, **tls: int) -> None:
        self.program = program
        self.before: list[tuple[int, dict[str, str]]] = []
        self.asked: list[str] = []
        self.failed: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.handle_error = lambda *_: None
        scheme = "http"
        if authority:
            context = authority.context(folder, **tls)
            self._server.socket = context.wrap_socket(self._server.socket, True, do_handshake_on_connect=False)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(farm: FakeFarm) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 20

        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            farm.asked.append(self.path)
            if farm.before:
                status, headers = farm.before.pop(0)
                return self.answer(status, **headers)
            return self.answer(200, farm.program)

        def do_POST(self) -> None:
            farm.asked.append(self.path)
            farm.failed.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.answer(200, b"{}")

    return Handler
