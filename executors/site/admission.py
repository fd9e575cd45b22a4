"""The first words with a farm: an invitation's secret is exchanged for a token of the executor's own."""

import http.client
import json
import platform
import secrets
import socket
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from executors.invitation import PROTOCOL, Invitation
from executors.reach import BadAddress, Reach, trusting_text
from executors.site.fitness import Unfit
from executors.site.protocol import PROTOCOL as SYNC

ANSWER_S = 30.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
CLOCK_S = 60.0  # a clock that is further off is worth a word


class NotAdmitted(Exception):
    """The farm does not take this machine, or did not answer in time; the text says why and what to do."""


class Silent(Exception):
    """No answer; asking again may help."""


@dataclass(frozen=True, slots=True)
class Admitted:
    token: str
    lease_s: float


def admit(invitation: Invitation, ray: str) -> Admitted:
    """Asks until the farm answers, for the time of a lease. Raises NotAdmitted, Unfit, BadAddress."""
    said = _about(invitation) | {"ray": ray, "nonce": secrets.token_hex(16)}
    until, pause, never = time.monotonic() + invitation.lease_s, FIRST_PAUSE_S, threading.Event()
    while True:
        try:
            answer = _post(invitation, "/v1/join", said)
            _compare_clocks(answer.get("now"))
            _understand(answer.get("sync", 1))
            return Admitted(answer["token"], float(answer["lease_s"]))
        except Silent as error:
            if time.monotonic() + pause > until:
                raise NotAdmitted(f"the farm at {invitation.url} does not answer: {error}") from error
        except BadAddress:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise NotAdmitted(f"what answers at {invitation.url} is no farm") from error
        never.wait(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)


def _compare_clocks(now: object) -> None:
    """Leases do not hang on it, but people who read times do."""
    off = time.time() - now / 1e6 if isinstance(now, int) else 0.0
    if abs(off) > CLOCK_S:
        sys.stderr.write(f"farm: the clock here is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the farm's\n")


def _understand(theirs: object) -> None:
    """Raises Unfit where the farm is of another age: it could not understand what is done here, nor we it."""
    if not isinstance(theirs, int) or abs(theirs - SYNC) > 1:
        what = f"the farm speaks version {theirs} of `sync`, this program {SYNC}"
        raise Unfit(f"{what}: fetch the program from the farm, GET /v1/executor.pyz, or bring the farm to this release")


def tell_failure(invitation: Invitation, what: str) -> bool:
    """Let the farm know, where it can be reached; whether it does. Raises BadAddress."""
    try:
        _post(invitation, "/v1/join/failed", _about(invitation) | {"what": what[:4000]})
    except (NotAdmitted, Silent):
        return False
    return True


def _about(invitation: Invitation) -> dict[str, Any]:
    told = {name: getattr(invitation, name) for name in ("farm", "pool", "executor", "secret")}
    about = {"protocol": PROTOCOL, "sync": SYNC, "python": platform.python_version()}
    return told | about | {"host": socket.gethostname()}


def _post(invitation: Invitation, path: str, said: dict[str, Any]) -> dict[str, Any]:
    """Raises NotAdmitted, Silent, BadAddress."""
    reach = Reach(invitation.url, "", "")
    connection = reach.connection(ANSWER_S, trusting_text(invitation.ca))
    try:
        connection.request("POST", reach.prefix + path, json.dumps(said), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        _hopeless(invitation, error)
        raise Silent(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
    if answer.status >= 500 or answer.status == 429:
        raise Silent(f"{answer.status} {body[:200]!r}")
    if answer.status != 200:
        raise NotAdmitted(_reason(answer.status, body))
    found: dict[str, Any] = json.loads(body)
    return found


def _hopeless(invitation: Invitation, error: Exception) -> None:
    """Raises NotAdmitted where asking again is of no use."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        what = f"who answers at {invitation.url} can't prove to be the farm ({error.verify_message})"
        raise NotAdmitted(f"{what}: compare `farm ca show` with the ticket, and the clock here: {time.ctime()}")


def _reason(status: int, body: bytes) -> str:
    try:
        told = json.loads(body)["error"]
        return "; ".join(filter(None, (told["what"], told["remedy"])))
    except (ValueError, KeyError, TypeError):
        return f"what answers there says {status}, and is no farm"
