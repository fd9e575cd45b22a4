"""The first process of a machine of the bench: runs the user data as its child, buries orphans, ends when told.

SIGTERM is the power button: everything is asked to end, and has five seconds. Standard library only; runs in there.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

USER_DATA = Path("/var/lib/machine/user-data")
ENDED = Path("/run/machine/ended")  # the exit status of the user data
GRACE_S = 5.0
pressed = False
started: list["subprocess.Popen[bytes]"] = []  # kept: one that is thrown away buries its child, unseen by us


def press(_signal: int, _frame: FrameType | None) -> None:
    global pressed
    pressed = True


def run(script: Path) -> int:
    """Its pid. Without a first line that says so it is for sh, as on any cloud."""
    said = script.read_bytes()[:2] == b"#!"
    argv = [str(script)] if said else ["/bin/sh", str(script)]
    script.chmod(0o700)
    started.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, cwd="/", start_new_session=True))
    return started[0].pid


def bury() -> tuple[int, int]:
    """(pid, exit status) of a child that ended; (0, 0) after a while without one."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        pid, status = 0, 0
    if not pid:
        signal.sigtimedwait({signal.SIGCHLD}, 0.5)
        return 0, 0
    return pid, os.waitstatus_to_exitcode(status)


def go_down() -> None:
    """All that is left after the grace goes with this process."""
    print("machine: going down", flush=True)
    until = time.monotonic() + GRACE_S
    with_others = True
    try:
        os.kill(-1, signal.SIGTERM)
        os.kill(-1, signal.SIGCONT)
    except ProcessLookupError:
        with_others = False
    while with_others and time.monotonic() < until:
        bury()
        with_others = any(name.isdigit() and name != "1" for name in os.listdir("/proc"))


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPWR):
        signal.signal(number, press)
    ENDED.parent.mkdir(parents=True, exist_ok=True)
    script = run(USER_DATA) if USER_DATA.exists() else -1
    (ENDED.parent / "up").touch()
    while not pressed:
        pid, status = bury()
        if pid == script:
            print(f"machine: the user data ended with {status}", flush=True)
            ENDED.with_suffix(".new").write_text(str(status))
            ENDED.with_suffix(".new").replace(ENDED)
    go_down()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
