"""The four commands of QEMU's control line that are needed here."""

import json
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from executors.errors import Lost

IGNORE_SHARED = {"capabilities": [{"capability": "x-ignore-shared", "state": True}]}
LOOK_S = 0.02


def command(name: str, arguments: Mapping[str, Any] | None = None) -> bytes:
    return json.dumps({"execute": name, **({"arguments": arguments} if arguments else {})}).encode() + b"\n"


def incoming(uri: str) -> bytes:
    """All that a clone needs to hear, written before it listens: nobody waits for an answer."""
    parts = [
        command("qmp_capabilities"),
        command("migrate-set-capabilities", IGNORE_SHARED),
        command("migrate-incoming", {"uri": uri}),
    ]
    return b"".join(parts)


class Control:
    """A conversation with one QEMU. Raises Lost when it refuses, or says nothing in time."""

    def __init__(self, line: socket.socket, within_s: float) -> None:
        self._line, self._rest = line, b""
        line.settimeout(within_s)
        self._hear("QMP")
        self.ask("qmp_capabilities")

    def ask(self, name: str, arguments: Mapping[str, Any] | None = None) -> Any:
        self._line.sendall(command(name, arguments))
        return self._hear("return")

    def freeze(self, state: str, within_s: float) -> None:
        """Write everything but the memory, which is in its file, to `state`. The machine stands still then."""
        self.ask("migrate-set-capabilities", IGNORE_SHARED)
        self.ask("migrate", {"uri": f"exec:cat > '{state}'"})
        deadline, pause = time.monotonic() + within_s, threading.Event()
        while (status := self.ask("query-migrate").get("status")) != "completed":
            if status == "failed" or time.monotonic() > deadline:
                raise Lost(f"QEMU could not write the state: {status}")
            pause.wait(LOOK_S)

    def _hear(self, key: str) -> Any:
        """What is said under this key; events that come in between are nothing to us."""
        try:
            while True:
                word = self._word()
                if "error" in word:
                    raise Lost(f"QEMU refuses: {word['error'].get('desc', word['error'])}")
                if key in word:
                    return word[key]
        except (OSError, ValueError) as error:
            raise Lost(f"QEMU does not answer: {error}") from error

    def _word(self) -> dict[str, Any]:
        while b"\n" not in self._rest:
            data = self._line.recv(1 << 16)
            if not data:
                raise OSError("it has ended")
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        found = json.loads(line)
        if not isinstance(found, dict):
            raise ValueError("not an object")
        return found
