"""Secret words blotted out of a stream before it is written anywhere. Standard library only: keepers use it."""

from collections.abc import Sequence

MARK = b"[secret]"


class Blot:
    """Takes a stream piece by piece; a word that lies across pieces is found too."""

    def __init__(self, words: Sequence[str]) -> None:
        """`words`: not empty, none of them empty."""
        spoken = {line for word in words for line in (word, *word.splitlines()) if len(line) > 3}
        self._words = sorted((word.encode(errors="surrogateescape") for word in spoken or words), key=len, reverse=True)
        self._held = b""

    def take(self, data: bytes) -> bytes:
        """What can be written now: an end that may be the beginning of a word is held back."""
        data = self._clean(self._held + data)
        keep = max(_begun(data, word) for word in self._words)
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep]

    def rest(self) -> bytes:
        """What was held back; nothing more comes."""
        rest, self._held = self._held, b""
        return rest

    def _clean(self, data: bytes) -> bytes:
        for word in self._words:
            data = data.replace(word, MARK)
        return data


def _begun(data: bytes, word: bytes) -> int:
    """How many of the last bytes of `data` are the first of `word`."""
    for size in range(min(len(word) - 1, len(data)), 0, -1):
        if data.endswith(word[:size]):
            return size
    return 0
