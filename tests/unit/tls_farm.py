"""A farm that others can reach, in this process: its API behind TLS on every address, its clock turned by hand."""

import http.client
import json
import socket
import ssl

from farm.auth import Kind, Scope, create_token
from farm.clock import SystemClock, TurnedClock
from farm.listening import opened
from farm.server import Server
from tests.fuzz.served_farm import ServedFarm


class TlsFarm(ServedFarm):
    """Listens at 0.0.0.0 beside the plain port; `clock` is of the certificates alone."""

    def __init__(self, home, settings="", place="0.0.0.0:0"):
        super().__init__(home, settings)
        self.clock = TurnedClock(SystemClock().now())
        self.listener = opened(self.farm.home, self.farm.config.listen, place, self.clock)
        self.farm.listener = self.listener
        self.secure = Server(self.farm, self.listener.socket, self.listener.tls.context)
        self.secure.start()

    def token(self, *scopes, **about):
        with self.farm.db.write() as tx:
            return create_token(
                tx, Kind.PERSON, self.farm.clock.now(), owner="ada", scopes=scopes or [Scope.READ], **about
            )

    def ask(self, path, ca=None, secret=None, method="GET", body=None):
        """(status, what it says) over TLS, trusting `ca`."""
        context = ssl.create_default_context(cadata=ca or self.listener.ca())
        connection = http.client.HTTPSConnection("127.0.0.1", self.listener.port, context=context, timeout=60)
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        try:
            connection.request(method, path, body, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def shown(self, ca=None):
        """The certificate of the server, as its client sees it."""
        context = ssl.create_default_context(cadata=ca or self.listener.ca())
        with (
            socket.create_connection(("127.0.0.1", self.listener.port), timeout=60) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as safe,
        ):
            return safe.getpeercert()

    def __exit__(self, *about):
        self.secure.stop()
        self.listener.close()
        super().__exit__(*about)
