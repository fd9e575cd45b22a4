"""User data: the shell script by which a bare machine becomes one executor of a farm."""

import json
import re
import shlex
from pathlib import Path

from executors.invitation import Invitation

RAY = "2.60.0"  # what is installed where a machine has no Ray
LIMIT = 16 * 1024  # bytes of user data that EC2 takes, before they are encoded
NO_PYTHON = "there is no Python 3.11 or newer with ssl on this machine: install python3 and python3-venv in its image"
END = "END_OF_FARM_FILE"


class TooLong(ValueError):
    """The script does not fit into user data; one sentence says what to shorten."""


def user_data(invitation: Invitation, *, power_off: bool = True) -> str:
    """A POSIX shell script for a Debian-like machine with Python 3.11 or newer and its venv module.

    It needs nothing else, and keeps the invitation in a file that only its user can read: no secret is on a command
    line or in the environment. `FARM_FOLDER` moves /var/lib/farm. With `power_off` the machine ends with its executor,
    and also when it can't join; without it the shell becomes the executor. Raises TooLong.
    """
    values = {
        "@EXECUTOR@": invitation.executor,
        "@FAILED@": shlex.quote(invitation.url.rstrip("/") + "/v1/join/failed"),
        "@CERTIFICATES@": _file("ca.pem", invitation.ca) if invitation.ca else "",
        "@CURL_CA@": '--cacert "$folder/ca.pem"' if invitation.ca else "",
        "@WGET_CA@": '--ca-certificate="$folder/ca.pem"' if invitation.ca else "",
        "@TOLD@": _file("failed.json", _failed(invitation)),
        "@NO_PYTHON@": NO_PYTHON,
        "@TICKET@": _file("ticket.json", invitation.text()),
        "@BOOT@": _file("boot.py", Path(__file__).with_name("boot.py").read_text()),
        "@RUN@": _THEN_OFF if power_off else _BECOME,
        "@LEAVE@": _OFF if power_off else "",
    }
    return _fitting(re.sub("@[A-Z_]+@", lambda mark: values[mark[0]], _SCRIPT), invitation)


def _fitting(text: str, invitation: Invitation) -> str:
    over = len(text.encode()) - LIMIT
    if over > 0:
        long = len(invitation.setup.encode())
        raise TooLong(
            f"the setup script of pool {invitation.pool} ({long:,} bytes) is {over:,} bytes too long for user data "
            f"({LIMIT // 1024} KiB in all): put what it does into the image, or let it fetch the rest"
        )
    return text


def _file(name: str, text: str) -> str:
    """Shell words that write a file; the umask keeps it private."""
    return f"cat >\"$folder/{name}\" <<'{END}'\n{text.rstrip()}\n{END}"


def _failed(invitation: Invitation) -> str:
    """What is told where there is no Python that could tell it."""
    told = {name: getattr(invitation, name) for name in ("secret", "farm", "pool", "executor", "protocol")}
    return json.dumps(told | {"what": NO_PYTHON})


_SCRIPT = """\
#!/bin/sh
# Makes this machine executor @EXECUTOR@ of a farm: written for it alone.
set -u
umask 077
folder=${FARM_FOLDER:-/var/lib/farm}

say() {
	echo "farm: $*" >&2
}

leave() {
@LEAVE@
	exit "$1"
}

tell() { # by what speaks HTTPS here; what is told is in a file
	@TOLD@
	@CERTIFICATES@
	if command -v curl >/dev/null; then
		curl -fsS -m 30 @CURL_CA@ -H 'Content-Type: application/json' --data-binary "@$folder/failed.json" @FAILED@
	elif command -v wget >/dev/null; then
		wget -q -O - -T 30 -t 1 @WGET_CA@ --header 'Content-Type: application/json' \\
			--post-file "$folder/failed.json" @FAILED@
	else
		say "the farm could not be told: there is no curl and no wget either"
	fi >&2 || say "the farm could not be told"
	rm -f "$folder/failed.json"
}

mkdir -p "$folder" || { say "this machine can't join: $folder can't be made" && leave 3; }
@TICKET@
@BOOT@
for python in python3 python3.14 python3.13 python3.12 python3.11 ''; do
	[ -z "$python" ] || "$python" -c 'import ssl, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
done
if [ -z "$python" ]; then
	say "this machine can't join: @NO_PYTHON@"
	tell
	leave 3
fi
@RUN@
"""

_BECOME = f'exec "$python" -I "$folder/boot.py" "$folder/ticket.json" {RAY}'

_THEN_OFF = f"""\
"$python" -I "$folder/boot.py" "$folder/ticket.json" {RAY} &
child=$!
trap 'kill -TERM $child' TERM INT HUP
wait $child
status=$?
while kill -0 $child 2>/dev/null; do # the wait was cut short by a signal, which is passed on
	wait $child
	status=$?
done
leave $status"""

_OFF = """\
	say "this machine powers itself off, its work ended with status $1"
	sync
	for off in poweroff 'shutdown -h now' 'systemctl poweroff'; do
		$off && exit "$1"
	done
	say "this machine can't power itself off\""""
