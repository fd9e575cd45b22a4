"""The agent of an executor as a process of its own, behind a Unix socket: the plain engine.

python -P -m executors.site.agent_server --ticket FILE
"""

import argparse
import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

from executors.contract import Ready
from executors.site.guests import agent_of
from executors.site.life import met
from executors.site.ticket import Ticket
from executors.site.wire import address, key

METHODS = frozenset({"submit", "poll", "nudge", "cancel", "snapshot", "stop", "processes"})
SET_PDEATHSIG = 1  # prctl(2)


class AgentServer:
    """Answers any number of conversations, each in a thread of its own."""

    def __init__(self, ticket: Ticket) -> None:
        self._ticket = ticket
        self._agent = agent_of(ticket.executor, ticket.folder, ticket.slots, ticket.store)
        self._path = address(ticket.run, ticket.executor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        self._listener = Listener(self._path, "AF_UNIX", backlog=16, authkey=key(ticket.run))

    def serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except Exception:  # a caller that went away or does not know the key
                continue
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                method, args = connection.recv()
                connection.send(self._answer(method, args))
                if method == "leave":
                    self._leave()

    def _answer(self, method: str, args: Sequence[Any]) -> tuple[bool, Any]:
        if method == "hello":
            met(Path(self._ticket.folder))
            return True, Ready(self._ticket.executor, self._ticket.slots, os.getpid())
        if method == "leave":
            return True, None
        if method not in METHODS:
            return False, f"there is no {method}"
        try:
            return True, getattr(self._agent, method)(*args)
        except Exception as error:
            return False, repr(error)

    def _leave(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        os._exit(0)


def main() -> None:
    parent = os.getppid()
    ctypes.CDLL(None).prctl(SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--ticket", required=True)
    AgentServer(Ticket.read(parser.parse_args().ticket)).serve()


if __name__ == "__main__":
    main()
