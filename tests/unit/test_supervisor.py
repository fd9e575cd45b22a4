"""The supervisor ends the gateway that lives, whoever started it."""

import subprocess
import sys
from pathlib import Path

from farm.home import Home
from farm.supervisor import Supervisor

HOLD = """
import fcntl, sys, threading
from pathlib import Path
from executors.site.process import sign
lock = open(sys.argv[1], "a")
fcntl.flock(lock, fcntl.LOCK_EX)
sign(Path(sys.argv[1]))
print("held", flush=True)
threading.Event().wait()
"""


def test_a_gateway_that_was_quicker_than_ours_is_ended_too(tmp_path: Path) -> None:
    """A gateway that starts itself again (execv, when the head has died) lets go of its lock for a moment: the
    supervisor takes that for its end and starts another one, which finds the lock taken and leaves."""
    home = Home(tmp_path / "home").make()
    home.make_run()
    lock = home.run / "gateway.lock"
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        supervisor = Supervisor(home, "local", "plain")
        late = supervisor._launch()
        assert late is not None
        assert late.wait(60) == 4
        supervisor.stop(end=True)
        assert other.wait(10) != 0
    for name in ("gateway.lock", "cwd"):
        path = home.run / name
        path.rmdir() if path.is_dir() else path.unlink()
    home.run.rmdir()
