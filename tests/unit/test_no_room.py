"""A work whose inputs find no room on the disk waits for it, and is not handed back to come again at once."""

import errno
from pathlib import Path
from typing import Any

from executors.contract import FileRef, Work
from executors.site.slot import Floor, Slot


class FullStore:
    """Has no room for so many tries."""

    def __init__(self, tries: int) -> None:
        self.tries = tries

    def place(self, _ref: FileRef, _folder: Path) -> None:
        self.tries -= 1
        if self.tries >= 0:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_work_waits_for_room(tmp_path: Path) -> None:
    nothing: Any = None
    store: Any = FullStore(3)
    slot = Slot(0, Floor(tmp_path, nothing, nothing, nothing, store, {}))
    work = Work("1.1.1", 7, 1, ("true",), inputs=(FileRef("a", "0" * 64, 1),))
    assert slot._lay(work)
    assert store.tries < 0
