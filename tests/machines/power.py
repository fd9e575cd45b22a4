#!/usr/bin/python3 -IS
"""poweroff, halt, reboot, shutdown and systemctl of a machine of the bench: each ends the machine, never the host.

With -f at once, by reboot(2), which in a pid namespace ends the namespace.
"""

import ctypes
import os
import signal
import sys

POWER_OFF = 0x4321FEDC


def main() -> int:
    name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
    verbs = [word for word in words if not word.startswith("-")]
    if name == "systemctl" and verbs[:1] not in (["poweroff"], ["reboot"], ["halt"]):
        print("System has not been booted with systemd as init system (PID 1). Can't operate.", file=sys.stderr)
        return 1
    if "-f" in words or "--force" in words:
        ctypes.CDLL(None).reboot(POWER_OFF)
    os.kill(1, signal.SIGTERM)
    return 0


if __name__ == "__main__":
    sys.exit(main())
