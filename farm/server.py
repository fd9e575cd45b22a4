"""The HTTP server: uvicorn in a thread, on the Unix socket of the home or on a TCP port."""

import socket
import threading
from typing import TYPE_CHECKING, Any

from farm import API, __version__

if TYPE_CHECKING:
    import ssl

    from farm.context import Farm


class Server:
    """Serves the API until it is stopped; with `tls`, to nobody who does not speak it."""

    def __init__(self, farm: "Farm", listening: socket.socket, tls: "ssl.SSLContext | None" = None) -> None:
        import uvicorn

        from farm.api import app

        config = uvicorn.Config(
            app(farm),
            log_level="warning",
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=2,
            http="httptools" if listening.family == socket.AF_UNIX else _from_anywhere(farm, tls),
            ws="none",
            server_header=False,
            headers=[("Farm-Api", API), ("Farm-Version", __version__)],
        )
        self._socket = listening
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


def _from_anywhere(farm: "Farm", tls: "ssl.SSLContext | None") -> Any:
    """What makes the protocol of a connection."""
    from farm.api.wire import Wire
    from farm.entrance import Entrance

    def refuse(address: str, why: str) -> None:
        farm.refusals.note(address, "", why)

    def made(**about: Any) -> Entrance | Wire:
        about["_loop"] = None  # that of the thread
        if tls is None:
            return Wire(refuse, **about)
        return Entrance(tls, refuse, lambda: Wire(refuse, **about), about["server_state"].connections)

    return made
