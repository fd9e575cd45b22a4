"""The light program on an owned machine: asks the farm whether there is work, and works only while nobody needs it.

    python3 executor.pyz --join URL --pool NAME --ticket FILE --ca FILE

The ticket (`farm token create --join POOL`) is exchanged once for a token of this machine's own, which is kept in
--folder: started again, it needs no ticket. Standard library only.
"""

import argparse
import hashlib
import http.client
import json
import os
import platform
import re
import resource
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from executors.invitation import Invitation, NoInvitation, NoTicket
from executors.reach import BadAddress, Reach, renew_authority, retry_after
from executors.site.lodger import Lodger
from executors.site.note import write_note
from executors.site.presence import House
from executors.site.trust import Trust

POLL_S = 20.0  # of one question
LOOK_S = 2.0  # so often it is looked whether the machine is needed
PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0  # whatever answers for the farm: one unheard for 45 s is no offer of its pool
ANSWER_S = 15.0
RENEW_S = 3600.0  # the farm tells of a new authority long before the old one is worth nothing
BAD_WORDS, NO_FARM = 2, 3


class Unwelcome(Exception):
    """The farm says no, and asking again is of no use; one sentence says why. `status` is that of the process."""

    def __init__(self, what: str, status: int = NO_FARM) -> None:
        super().__init__(what)
        self.status = status


class Silent(Exception):
    """No answer; asking again helps, but not before `retry_s`."""

    def __init__(self, what: str, retry_s: float = 0.0) -> None:
        super().__init__(what)
        self.retry_s = retry_s


def main(words: Sequence[str] | None = None) -> int:
    """Stands by until it is told to end; 0 then, 2 or 3 when it can't."""
    options = parser().parse_args(words)
    if wrong := _wrong(options):
        _say(wrong)
        return BAD_WORDS
    try:
        stand(options)
    except (Unwelcome, BadAddress, NoTicket) as error:
        _say(f"this machine can't stand by for {options.join}: {error}")
        return getattr(error, "status", BAD_WORDS)
    except OSError as error:
        _say(f"this machine can't stand by: {error}")
        return NO_FARM
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="executor.pyz", description="Stand by for a farm, and work when it wants.")
    made.add_argument("--join", required=True, metavar="URL", help="the farm, such as https://farm.example.org:8443")
    made.add_argument("--pool", required=True, metavar="NAME", help="the pool that this machine belongs to")
    made.add_argument("--ticket", metavar="FILE", default="", help="a ticket for the first time; - is standard input")
    made.add_argument("--ca", metavar="FILE", default="", help="the farm's authority, as `farm ca show` prints it")
    made.add_argument("--folder", metavar="DIR", default="", help="where this machine's token and work are kept")
    made.add_argument("--slots", metavar="N", type=int, default=os.cpu_count() or 1, help="tasks at once (the cores)")
    made.add_argument("--hold-file", metavar="FILE", default="", help="while this file is there, nothing is worked")
    made.add_argument("--max-load", metavar="X", type=float, default=0, help="nor while others' load is above X")
    made.add_argument("--when-nobody", metavar="MIN", type=float, nargs="?", const=10.0, default=None,
                      help="nor within so many minutes of a key pressed by somebody logged in (10)")  # fmt: skip
    made.add_argument(
        "--grace", metavar="S", type=float, default=60, help="seconds for tasks to end, when it is needed"
    )
    return made


def _wrong(options: argparse.Namespace) -> str:
    """What can't be meant, and by which option; "" when all is well."""
    if options.slots < 1:
        return f"--slots {options.slots}: a machine has one at least"
    if not options.pool or re.search(r"[^!-~]|[/?#%]", options.pool):
        return f"--pool {options.pool!r}: that is no name of a pool; name one of the farm's `farm pools`"
    if re.search(r"[^!-~]", options.join):
        return f"--join {options.join!r}: that is no URL of a farm; write it like https://farm.example.org:8443"
    return ""


def stand(options: argparse.Namespace) -> None:
    """Raises Unwelcome, BadAddress, NoTicket, OSError."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # it would hold tokens
    folder = _folder(options.folder)
    trust = Trust(folder, _authority(options.ca) if options.ca else None)
    farm = Desk(Reach(options.join, trust.file, str(folder / "token")), options.pool, trust)
    lodger = Lodger(folder)
    _enter(farm, options, folder, lodger)
    idle_s = None if options.when_nobody is None else 60 * options.when_nobody
    house = House(options.hold_file, options.max_load, idle_s)
    Watch(farm, house, lodger, options.slots, options.grace).keep()


def _enter(farm: "Desk", options: argparse.Namespace, folder: Path, lodger: Lodger) -> None:
    """Exchange the ticket, unless that has been done: whoever lodges here since before goes first, for what covers a
    token from its tasks goes with the file. Raises Unwelcome, BadAddress, NoTicket, OSError."""
    known, used = (folder / "token").exists(), folder / "ticket-used"
    if known and not (options.ticket and os.access(options.ticket, os.R_OK)):
        return
    ticket = _ticket(options.ticket, options.pool)
    mark = hashlib.sha256(ticket.encode()).hexdigest()
    if not known or not used.exists() or used.read_text() != mark:
        if lodger.running:
            lodger.ask("its machine joins anew")
            lodger.leave()
        farm.enter(ticket, folder)
        write_note(used, mark)


def _ticket(file: str, pool: str) -> str:
    if not file:
        what = f"it has no token yet: get a ticket by `farm token create --join {pool}`, and name its file by --ticket"
        raise Unwelcome(what, BAD_WORDS)
    data = (sys.stdin.buffer.read() if file == "-" else _read("--ticket", file, "the ticket")).strip()
    text = data.decode(errors="replace")
    if not text or text[0] in "{[" or not text.isascii() or not text.isprintable():
        raise NoTicket("it is not text" if "\ufffd" in text else "it holds something else" if text else "it is empty")
    return text


def _read(option: str, file: str, what: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        told = f"{option} {file}: it can't be read: {error.strerror}; name the file that holds {what}"
        raise Unwelcome(told, BAD_WORDS) from error


def _authority(file: str) -> str:
    """The certificates in a file that was given, in PEM. Raises Unwelcome."""
    import ssl

    text = _read("--ca", file, "the output of `farm ca show`").decode("latin-1")  # comments may be of any letters
    try:
        ssl.create_default_context(cafile=file)
    except ssl.SSLError as error:
        what = f"--ca {file}: that is no certificate in PEM; name the file that holds the output of `farm ca show`"
        raise Unwelcome(what, BAD_WORDS) from error
    return text


def _folder(said: str) -> Path:
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    folder = Path(said or ("/var/lib/farm-standby" if os.geteuid() == 0 else f"{state}/farm-standby")).absolute()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.geteuid():
        raise Unwelcome(f"{folder} belongs to somebody else; name another folder by --folder", BAD_WORDS)
    folder.chmod(0o700)
    return folder


def _say(text: str) -> None:
    sys.stderr.write(f"farm: {text}\n")
    sys.stderr.flush()


class Desk:
    """Where the farm is asked. One connection, kept open; `interrupt` may be called from another thread."""

    def __init__(self, reach: Reach, pool: str, trust: Trust | None = None) -> None:
        """`trust` is told when the farm has proved itself, and says by what from then on."""
        self._trust = trust
        self._reach, self._path = reach, f"{reach.prefix}/v1/pools/{pool}/standby"
        self._line: http.client.HTTPConnection | None = None
        self._asking = threading.Lock()

    def enter(self, ticket: str, folder: Path) -> None:
        """Exchange the ticket for this machine's own token. Raises Unwelcome, BadAddress."""
        about = {"host": socket.gethostname(), "python": platform.python_version(), "nonce": secrets.token_hex(16)}
        pause, never = PAUSE_S, threading.Event()
        while True:
            try:
                found = self._post(f"{self._path}/ticket", about, ticket)
                break
            except Silent as error:
                _say(f"{error}; tried again")
            never.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
        write_note(folder / "token", str(found["token"]))
        _say(f"this machine is {found['machine']} now, and stands by")

    def ask(self, word: dict[str, Any]) -> dict[str, Any]:
        """Raises Silent, Unwelcome, BadAddress."""
        return self._post(self._path, word, Path(self._reach.token).read_text().strip())

    def _post(self, path: str, body: dict[str, Any], token: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            if self._line is None:
                self._line = self._reach.connection(POLL_S + ANSWER_S)
            self._line.request("POST", path, json.dumps(body), headers)
            answer = self._line.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._hang_up()
            raise self._silence(error) from error
        if answer.status >= 500 or answer.status == 429:
            raise Silent(f"the farm answers {answer.status}", retry_after(answer))
        try:
            found: dict[str, Any] = json.loads(data)
            told = found["error"]["what"] + "; " + found["error"]["remedy"] if answer.status >= 300 else ""
        except (ValueError, KeyError, TypeError) as error:
            raise Silent(f"what answers says {answer.status} and is no farm") from error
        if told:
            raise Unwelcome(told)
        self._proved()
        return found

    def _proved(self) -> None:
        """It is the farm: its authority may take the place of the one before."""
        if self._trust is not None and self._trust.proved():
            self._reach = replace(self._reach, ca=self._trust.file)
            self._hang_up()

    def _silence(self, error: Exception) -> Exception:
        import ssl

        if not isinstance(error, ssl.SSLCertVerificationError):
            return Silent(f"the farm does not answer at {self._reach.url} ({error or type(error).__name__})")
        what = f"who answers at {self._reach.url} can't prove to be the farm ({error.verify_message})"
        return Unwelcome(f"{what}: compare with `farm ca show`, and give its output by --ca FILE")

    def renew(self) -> None:
        """Whom to trust may change while we stand by."""
        if self._reach.ca:
            try:
                renew_authority(self._reach)
            except (OSError, http.client.HTTPException):
                return

    def interrupt(self) -> None:
        """Whoever waits for an answer asks anew."""
        line = self._line.sock if self._line is not None else None
        if line is not None:
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = None


class Watch:
    """Two threads: one asks the farm, one looks after the house and the lodger."""

    def __init__(self, farm: Desk, house: House, lodger: Lodger, slots: int, grace_s: float) -> None:
        self._farm, self._house, self._lodger = farm, house, lodger
        self._slots, self._grace = slots, grace_s
        self._over = threading.Event()
        self._why = house.needed(0)
        self._ended = ("", "")
        self._telling = threading.Lock()  # of `_ended`: who asks and who looks both write it
        self._blind: Exception | None = None
        self._needed_s, self._noted = 0.0, ""
        self._renewed = time.monotonic()

    def keep(self) -> None:
        """Until SIGTERM; the lodger goes first. Raises Unwelcome, BadAddress."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        looking = threading.Thread(target=self._looking, daemon=True)
        looking.start()
        pause = PAUSE_S
        try:
            while not self._over.is_set():
                pause = PAUSE_S if self._once(pause) else min(2 * pause, LONGEST_PAUSE_S)
        finally:
            self._over.set()
            self._send_home("the machine stops standing by")
            looking.join(LOOK_S)
        if self._blind:
            raise Unwelcome(f"it could not look whether the machine is needed ({self._blind!r})") from self._blind

    def _end(self, _number: int, _frame: Any) -> None:
        self._over.set()
        self._farm.interrupt()

    def _once(self, pause: float) -> bool:
        """One question and what follows; whether it was answered."""
        word = self._word()
        if time.monotonic() - self._renewed > RENEW_S:
            self._renewed = time.monotonic()
            self._farm.renew()
        try:
            answer = self._farm.ask(word)
        except Silent as error:
            if not self._over.is_set() and word == self._word():
                _say(str(error))
                self._over.wait(max(pause, min(error.retry_s, LONGEST_PAUSE_S)))
            return False
        self._farm_heard(word)
        if (note := str(answer.get("note", ""))) != self._noted:
            self._noted = note
            _say(note or "this machine has as many slots as its pool's executors")
        if answer.get("end") and answer["end"] == self._lodger.running:
            self._lodger.ask("")
            self._go()
        elif answer.get("invitation") and not self._lodger.running:
            self._take_in(str(answer["invitation"]))
        return True

    def _word(self) -> dict[str, Any]:
        ended, error = self._ended
        word = {"slots": self._slots, "free": not self._why, "why": self._why, "running": self._lodger.running}
        return word | {"ended": ended, "error": error, "wait_s": 0 if ended or self._over.is_set() else POLL_S}

    def _farm_heard(self, word: dict[str, Any]) -> None:
        with self._telling:
            if word["ended"] and word["ended"] == self._ended[0]:
                self._ended = ("", "")

    def _take_in(self, text: str) -> None:
        try:
            invitation = Invitation.read(text)
            _say(f"working as {invitation.executor}")
            self._lodger.start(invitation)
        except (NoInvitation, OSError) as error:
            _say(f"the work can't begin: {error}")
            if (found := text) and (name := _executor_of(found)):
                self._ended = (name, str(error))

    def _looking(self) -> None:
        """Who can't look ends the program: it is started again, and works on nobody's machine meanwhile."""
        try:
            while not self._over.wait(LOOK_S):
                if self._look():
                    self._farm.interrupt()
        except Exception as error:
            self._blind = error
            self._over.set()
            self._farm.interrupt()

    def _look(self) -> bool:
        """Whether there is something to tell."""
        before = (self._why, self._ended)
        self._why = self._house.needed(self._lodger.slots)
        self._needed_s = self._needed_s + LOOK_S if self._why and self._lodger.running else 0.0
        if self._needed_s > self._grace:
            self._lodger.ask(self._why)
        if self._collect():
            _say(f"{self._ended[0]} has ended{': ' if self._ended[1] else ''}{self._ended[1]}")
        return before != (self._why, self._ended)

    def _go(self) -> None:
        self._lodger.leave()
        self._collect()

    def _collect(self) -> bool:
        """Whether one has ended just now; what is not told yet stays to be told."""
        with self._telling:
            if self._ended[0]:
                return False
            self._ended = self._lodger.ended()
            return bool(self._ended[0])

    def _send_home(self, why: str) -> None:
        if self._lodger.running:
            self._lodger.ask(why)
            self._go()


def _executor_of(text: str) -> str:
    try:
        return str(json.loads(text)["executor"])
    except (ValueError, KeyError, TypeError):
        return ""


if __name__ == "__main__":
    sys.exit(main())
