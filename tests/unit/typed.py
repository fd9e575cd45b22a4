"""A person who types commands into this process."""

import pytest

from farm.cli import main


class Typed:
    """Types a command; what it said."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.err = ""

    def __call__(self, *words: str, status: int = 0) -> str:
        assert main(list(words)) == status
        out, self.err = self._capsys.readouterr()
        return out
