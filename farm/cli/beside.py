"""Processes that serve the API beside the one that leads: what is said of them, and their end where nobody leads."""

from farm.cli.output import emit, say
from farm.client import at_socket
from farm.home import Home
from farm.refusal import Refusal

END_S = 15.0


def tell_beside(home: Home, pid: int, said: str, json: bool) -> int:
    """`said`: "ready", and where others reach it."""
    url = said.partition(" ")[2]
    if json:
        emit({"home": str(home.path), "serves": True, "pid": pid, "url": url or None})
        return 0
    print(f"process {pid} serves the API beside whoever leads: home {home.path}")
    if url:
        print(f"others reach it at {url}")
    return 0


def end_beside(home: Home) -> None:
    """Nobody leads: whoever serves in this home is told by its own socket."""
    from farm import roll

    for path, process in roll.living(home):
        try:
            with at_socket(home, path) as client:
                client.post("/v1/down")
        except Refusal as error:
            say(f"process {process.pid} can't be told to end: {error}")
            continue
        if not process.wait(END_S):
            say(f"process {process.pid} did not end within {END_S:.0f} s")
