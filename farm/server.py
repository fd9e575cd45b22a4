"""The HTTP server: uvicorn in a thread, on the Unix socket of the home."""

import socket
import threading
from typing import TYPE_CHECKING

from farm import API, __version__

if TYPE_CHECKING:
    from farm.context import Farm


class Server:
    """Serves the API until it is stopped."""

    def __init__(self, farm: "Farm", listening: socket.socket) -> None:
        import uvicorn

        from farm.api import app

        config = uvicorn.Config(
            app(farm),
            log_level="warning",
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=2,
            http="httptools",
            server_header=False,
            headers=[("Farm-Api", API), ("Farm-Version", __version__)],
        )
        self._farm, self._socket = farm, listening
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="api", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()
        self._farm.home.socket.unlink(missing_ok=True)
