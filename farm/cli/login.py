"""`farm login`, `farm logout`."""

import os
import sys
from typing import Annotated

import typer

from farm.address import Address, dial_of, parse_address, trusting, trusting_anybody
from farm.cli.options import JsonOption
from farm.cli.output import emit, say
from farm.client import Client
from farm.login import Login, checked_token, forget_login, login_file, read_ca, read_login, read_token, write_login
from farm.refusal import Refusal, Unavailable
from farm.transport import RemoteTransport, Unreachable

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_HOW = "type `farm ca show` on the farm's machine, then give --fingerprint SHA256 or --ca FILE"


def login(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Where the farm is, such as https://farm.example.org:8443.")
    ],
    token_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Read the token from this file; else it is asked for, or stdin's."),
    ] = None,
    fingerprint: Annotated[
        str | None, typer.Option(metavar="SHA256", help="Trust the farm's own CA if it is this one, without asking.")
    ] = None,
    ca: Annotated[str | None, typer.Option("--ca", metavar="FILE", help="Trust the certificates in this file.")] = None,
    json: JsonOption = False,
) -> int:
    """From then on every command speaks to that farm, unless --home, FARM_HOME or FARM_URL says otherwise. Token and CA
    are kept in ~/.config/farm/login.json, for this user alone."""
    address = parse_address(url, "URL")
    trusted = _trusted(address, fingerprint, ca)
    made = Login(address, _token(token_file), trusted)
    _check(made)
    path = login_file()
    write_login(made, path)
    for name in ("FARM_HOME", "FARM_URL"):
        if os.environ.get(name):
            say(f"{name} is set and goes before the login: unset it to use that farm")
    if json:
        emit({"url": str(made), "file": str(path)})
    else:
        print(f"logged in to {made}: kept in {path}")
    return 0


def logout(json: JsonOption = False) -> int:
    """The token itself stays good until it is revoked."""
    path = login_file()
    try:
        known = read_login(path)
    except Refusal:
        known = None  # whatever is wrong with it, it goes
    was = forget_login(path)
    if json:
        emit({"was_logged_in": was, "file": str(path)})
    elif was:
        print(f"logged out{f' from {known}' if known else ''}; end the token itself with `farm token revoke` there")
    else:
        print(f"there was no login in {path}")
    return 0


def _token(file: str | None) -> str:
    """From a file, the terminal, or stdin; never from an argument, which everybody on the machine can read."""
    if file is not None and file != "-":
        return read_token(file)
    if file is None and sys.stdin.isatty():
        from getpass import getpass

        return checked_token(getpass("token: "), "token")
    return checked_token(sys.stdin.readline(8192), "stdin")


def _check(made: Login) -> None:
    """Raises Refusal when no farm answers there, or it does not know the token."""
    from farm.remote import reach

    with reach(made) as client:
        try:
            client.get("/v1/status")
        except Refusal as refusal:
            if refusal.status != 403:  # known, and may not look: then it is for something else
                raise


# ── Whom to trust ────────────────────────────────────────────────────────────────────────────────


def _trusted(address: Address, fingerprint: str | None, file: str | None) -> str:
    """The CA to pin; "" where this machine trusts the farm's certificate anyway. Raises Refusal."""
    if not address.secure:
        return ""
    if file is not None:
        found = read_ca(file, "--ca")
        if fingerprint is not None:
            _compare(found, fingerprint)
        return found
    if fingerprint is None and _known_here(address):
        return ""
    found = _shown_ca(address)
    if fingerprint is not None:
        _compare(found, fingerprint)
    else:
        _confirm(address, found)
    return found


def _known_here(address: Address) -> bool:
    """Whether the certificate stands under a CA of this machine's own."""
    transport = RemoteTransport(address, dial_of(address, trusting("", "")))
    try:
        transport.open()
    except Unreachable as error:
        if error.lasting:
            return False
        raise
    finally:
        transport.close()
    return True


def _shown_ca(address: Address) -> str:
    """What it says its CA is; nothing secret is sent, and nothing believed yet."""
    transport = RemoteTransport(address, dial_of(address, trusting_anybody()))
    with Client(transport, "") as client:
        try:
            text = str(client.get("/v1/ca")["ca"])
        except Unavailable:
            raise
        except (Refusal, ValueError, KeyError, TypeError) as error:
            raise Unavailable("it does not say which CA its certificate is of", str(address), _HOW) from error
    begin, end = text.find(_BEGIN), text.find(_END)
    if begin < 0 or end < 0:
        raise Unavailable("it does not say which CA its certificate is of", str(address), _HOW)
    return text[begin : end + len(_END)] + "\n"


def fingerprint_of(ca: str) -> str:
    """SHA-256 of its first certificate (DER), AB:CD:…"""
    import hashlib
    import ssl

    first = ca[ca.find(_BEGIN) : ca.find(_END) + len(_END)]
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def _compare(ca: str, given: str) -> None:
    plain = given.strip().upper().removeprefix("SHA256:").replace(":", "").replace(" ", "")
    if len(plain) != 64 or set(plain) - set("0123456789ABCDEF"):
        raise Refusal(
            f"{given[:100]!r} is no SHA-256", "--fingerprint", "give 64 hex digits, as `farm ca show` prints them"
        )
    if fingerprint_of(ca).replace(":", "") != plain:
        what = f"its CA has the fingerprint {fingerprint_of(ca)}, and that is another one"
        raise Unavailable(
            what, "--fingerprint", "ask on the farm's machine: `farm ca show`; somebody may be in between"
        )


def _confirm(address: Address, ca: str) -> None:
    say(f"{address} has a CA of its own, with the SHA-256 fingerprint\n  {fingerprint_of(ca)}")
    if not sys.stdin.isatty():
        raise Refusal("nobody is here to confirm it", str(address), _HOW)
    say("compare it with `farm ca show` on the farm's machine. Trust it? Type yes:")
    if sys.stdin.readline().strip().lower() not in ("yes", "y"):
        raise Refusal("not trusted, and nothing kept", str(address), _HOW)
