"""An ext4 of a trial's own, in a file: it stalls, dies, or loses its power."""

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from threading import Event

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_NO_LOG_FLUSH = 2  # not even what is in its journal's memory


class Disk:
    """Root only. `place` is where it is mounted, `image` the file."""

    def __init__(self, image: Path, place: Path, size: int) -> None:
        self.image, self.place = image, place
        with image.open("wb") as file:
            file.truncate(size)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True, timeout=60)
        place.mkdir(exist_ok=True)
        mount("-o", "loop", str(image), str(place))

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Whoever writes waits."""
        subprocess.run(["fsfreeze", "-f", str(self.place)], check=True, capture_output=True, timeout=30)
        try:
            yield
        finally:
            subprocess.run(["fsfreeze", "-u", str(self.place)], check=True, capture_output=True, timeout=30)

    def die(self) -> None:
        """It is read-only from now on, and nothing more reaches it."""
        mount("-o", "remount,abort", str(self.place))
        with contextlib.suppress(OSError):
            (self.place / "probe").touch()

    def lose_power(self) -> None:
        """What is not on it now never will be: neither files' bytes that nobody has synced nor what names them."""
        folder = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(folder)

    def again(self) -> None:
        """As after a restart of the machine; nobody may use it just now."""
        unmount(self.place)
        fresh = self.image.with_suffix(".again")  # others' namespaces may still hold the dead one
        subprocess.run(["cp", "--sparse=always", str(self.image), str(fresh)], check=True, timeout=60)
        fresh.replace(self.image)
        mount("-o", "loop", str(self.image), str(self.place))

    def clear(self) -> None:
        subprocess.run(["fsfreeze", "-u", str(self.place)], capture_output=True, timeout=30)
        unmount(self.place)


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True, timeout=30)


def unmount(place: Path) -> None:
    pause = Event()
    for _ in range(100):
        done = subprocess.run(["umount", str(place)], capture_output=True, timeout=60)
        if done.returncode == 0 or not os.path.ismount(place):
            return
        pause.wait(0.1)
    subprocess.run(["umount", "--lazy", str(place)], capture_output=True, timeout=60)


def fill(ballast: Path) -> None:
    """Until there is no room left."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))


@cache
def may_mount() -> bool:
    """Found by trying: a container's root often may not."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None or shutil.which("fsfreeze") is None:
        return False
    with tempfile.TemporaryDirectory(prefix="fc-") as place:
        try:
            mount("-t", "tmpfs", "farm-chaos", place)
            subprocess.run(["losetup", "--find"], check=True, capture_output=True, timeout=30)
        except (OSError, subprocess.SubprocessError):
            return False
        finally:
            if os.path.ismount(place):
                unmount(Path(place))
    return True
