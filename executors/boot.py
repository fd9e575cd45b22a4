"""What a machine runs that is to become an executor: it gets the executor's program, sets itself up, and becomes it.

    python3 -I boot.py TICKET RAY_VERSION

One file, standard library only: it travels inside user data (see executors/bootstrap.py).
"""

import http.client
import json
import os
import platform
import resource
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from typing import Any, NoReturn

LOOK = """import sys
from importlib.metadata import version
near = version("ray").split(".")[:2] == sys.argv[1].split(".")[:2]
print(sys.executable if near and sys.version_info >= (3, 11) else "")"""
PYTHONS = ("python3", "python3.14", "python3.13", "python3.12", "python3.11")
LINES = 20  # of what failed are told,
MOST = 3000  # characters in all
CLOCK = (9, 10)  # X509_V_ERR: not valid yet, expired; a machine that has just booted may have its clock wrong
Ticket = dict[str, Any]


class Trouble(Exception):
    """This machine can't join; the text says why and what to do."""


def main(words: list[str]) -> NoReturn:
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # it would hold secrets
    with open(words[0]) as file:
        ticket = json.load(file)
    folder = os.path.dirname(os.path.abspath(words[0]))
    try:
        program = fetch(ticket, os.path.join(folder, "executor.pyz"))
        set_up(ticket, folder)
        python = suited(ticket, folder, words[1])
    except Trouble as trouble:
        say(f"this machine can't join: {trouble}")
        tell(ticket, str(trouble))
        sys.exit(3)
    write(words[0], json.dumps(ticket | {"setup": ""}))  # it has been run
    say(f"{ticket['executor']} starts")
    os.execv(python, [python, program, "--ticket", words[0]])


def say(text: str) -> None:
    sys.stderr.write(f"farm: {text}\n")


def write(path: str, text: str, mode: int = 0o600) -> None:
    """Replace a file in one step by one that only we can read."""
    fresh = path + ".new"
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(fresh, path)


class Stay(urllib.request.HTTPRedirectHandler):
    """Nobody is followed to another place: it could be one without TLS."""

    def redirect_request(self, *_: Any) -> None:
        return


def ask(ticket: Ticket, path: str, body: Ticket | None = None) -> bytes:
    """The farm's answer. Only the authority of the ticket is believed. Raises Trouble, OSError, HTTPException."""
    url = ticket["url"].rstrip("/") + path
    host = urllib.parse.urlsplit(url).hostname
    if not url.startswith("https://") and host not in ("localhost", "127.0.0.1", "::1"):
        raise Trouble(f"the farm's address {ticket['url']} is not https://: nothing is sent there in the clear")
    trust = ssl.create_default_context(cadata=ticket["ca"] or None)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust), Stay)
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with opener.open(request, timeout=30) as answer:
        return bytes(answer.read())


def fetch(ticket: Ticket, file: str) -> str:
    """The executor's program from the farm, asked for again until the lease is over."""
    until, pause, never = time.monotonic() + ticket["lease_s"], 0.5, threading.Event()
    while True:
        try:
            data = ask(ticket, "/v1/executor.pyz")
            break
        except (OSError, http.client.HTTPException) as error:
            why = reason(ticket, error)
        if time.monotonic() + pause > until:
            raise Trouble(why)
        say(f"{why}; tried again")
        never.wait(pause)
        pause = min(2 * pause, 15)
    with open(file, "wb") as out:
        out.write(data)
    if not zipfile.is_zipfile(file):
        raise Trouble(f"what {ticket['url']} sent is no program: is a farm there, or something before it?")
    return file


def reason(ticket: Ticket, error: Exception) -> str:
    """Why the farm does not answer; Trouble where waiting does not help."""
    url, cause = ticket["url"], getattr(error, "reason", error)
    if isinstance(error, urllib.error.HTTPError):
        why = f"{url} answers {error.code} when it is asked for /v1/executor.pyz"
        if error.code < 500 and error.code != 429:
            raise Trouble(f"{why}: is a farm there?")
        return why
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = f"who answers at {url} can't prove to be the farm ({cause.verify_message})"
        if cause.verify_code not in CLOCK:
            raise Trouble(f"{why}: look at `farm ca show`, and at what stands between")
        return f"{why}: the clock here says {time.ctime()}"
    return f"the farm does not answer at {url} ({cause}): it must be reachable from here"


def tell(ticket: Ticket, what: str) -> None:
    """Let the farm know, where it can be reached."""
    body = {k: ticket[k] for k in ("secret", "farm", "pool", "executor", "protocol")}
    what = what.replace(ticket["secret"], "…")
    about = {"what": what if len(what) < MOST else f"{what[:200]} … {what[200 - MOST :]}", "host": socket.gethostname()}
    try:
        ask(ticket, "/v1/join/failed", body | about | {"python": platform.python_version()})
    except (OSError, http.client.HTTPException, Trouble) as error:
        say(f"the farm could not be told: {error}")


def set_up(ticket: Ticket, folder: str) -> None:
    """Run the pool's script, once in the life of a machine."""
    done, script = os.path.join(folder, "set-up"), os.path.join(folder, "setup")
    if not ticket["setup"] or os.path.exists(done):
        return
    say("running the pool's setup script")
    write(script, ticket["setup"], 0o700)
    words = [script] if ticket["setup"].startswith("#!") else ["sh", script]
    run("the pool's setup script", words, folder)
    write(done, "")


def run(name: str, words: list[str], folder: str) -> None:
    """Run a program to its end; its output goes to the console. Raises Trouble with its last lines."""
    log = os.path.join(folder, "boot.log")
    with open(log, "wb") as out:  # no pipe: what it leaves behind would hold it open
        try:
            code = subprocess.call(words, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        except OSError as error:
            raise Trouble(f"{name} can't be started: {error.strerror}") from error
    with open(log, errors="replace") as file:
        lines = [line.rstrip() for line in file]
    for line in lines:
        say(f"| {line}")
    if code:
        raise Trouble("\n".join([f"{name} ended with status {code}:", *lines[-LINES:]]))


def suited(ticket: Ticket, folder: str, version: str) -> str:
    """A Python that can run the work; one with Ray is made where there is none."""
    if ticket["engine"] != "ray":
        return sys.executable
    own = os.path.join(folder, "venv", "bin", "python")
    for python in (sys.executable, "/opt/farm/bin/python", own, *PYTHONS):
        if path := with_ray(python, version):
            return path
    say(f"there is no Python with Ray here: installing ray {version}")
    if not os.path.exists(own):
        venv = [sys.executable, "-m", "venv", os.path.join(folder, "venv")]
        run("making a virtual environment (Debian: python3-venv)", venv, folder)
    quiet = ["--quiet", "--disable-pip-version-check", "--no-compile", "--only-binary=:all:"]
    run("installing Ray with pip", [own, "-m", "pip", "install", *quiet, f"ray=={version}"], folder)
    return own


def with_ray(python: str, version: str) -> str:
    """The whole path of a Python that has Ray, but for its patch the version."""
    try:
        found = subprocess.run([python, "-I", "-c", LOOK, version], capture_output=True)
    except OSError:
        return ""
    return found.stdout.decode().strip()


if __name__ == "__main__":
    main(sys.argv[1:])
