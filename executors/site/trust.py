"""Whom a machine that stands by takes for its farm: the authority that it was given, or the one it has learned since.

Below its folder: `ca.pem` is the one by which the farm has proved itself last, renewed by the farm itself;
`ca-given.pem` a copy of the file of --ca; `ca-proved` tells by which given one the farm has proved itself.
"""

import hashlib
from pathlib import Path

from executors.site.note import write_note


class Trust:
    """A unit names the same file for years, and the farm's authority changes: what was learned by a given one takes its
    place, until another one is given."""

    def __init__(self, folder: Path, given: str | None) -> None:
        """`given` is in PEM; None where none was. Raises OSError."""
        self._kept, self._proved = folder / "ca.pem", folder / "ca-proved"
        self._mark = "" if given is None else hashlib.sha256(given.encode()).hexdigest()
        self._given = folder / "ca-given.pem"
        self._new = given is not None and not self._learned()
        if given is not None and self._new:
            write_note(self._given, given)

    def _learned(self) -> bool:
        return self._kept.exists() and self._proved.exists() and self._proved.read_text() == self._mark

    @property
    def file(self) -> str:
        """The one to believe now; "" where everybody is trusted whom this machine trusts."""
        if self._new:
            return str(self._given)
        return str(self._kept) if self._kept.exists() else ""

    def proved(self) -> bool:
        """Who answers is the farm. Whether `file` is another one from now on. Raises OSError."""
        if not self._new:
            return False
        write_note(self._kept, self._given.read_text())
        write_note(self._proved, self._mark)
        self._new = False
        return True
