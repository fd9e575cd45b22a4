"""What a pool's clones are made from, and under which names that is kept."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from executors.vmclone import init, program
from executors.vmclone.qemu import Shape, fingerprint

REVISION = 1  # of how an image is made; raise it when the same recipe gives something else


@dataclass(frozen=True, slots=True)
class Recipe:
    """A minimal Debian of this release with Python and these packages, on which `setup` (a script) was run once."""

    release: str
    packages: tuple[str, ...] = ()
    setup: str = ""

    def digest(self) -> str:
        words = [REVISION, self.release, sorted(self.packages), self.setup, _source(init.__file__)]
        return _digest(words)


@dataclass(frozen=True, slots=True)
class Spec:
    """A template: an image, a shape, and what was done before it was frozen (`warm`, a script run in each slot)."""

    recipe: Recipe
    shape: Shape
    warm: str = ""

    def digest(self) -> str:
        return _digest([self.recipe.digest(), self.shape.words(), fingerprint(self.shape), program.digest(), self.warm])

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> "Spec":
        raw = json.loads(text)
        recipe = raw["recipe"] | {"packages": tuple(raw["recipe"]["packages"])}
        return cls(Recipe(**recipe), Shape(**raw["shape"]), raw["warm"])


def cache() -> Path:
    """Outside of checkouts and homes: what is in it can be made again."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "elastic-farm" / "vmclone"


def _source(file: str) -> str:
    return Path(file).read_text()


def _digest(words: object) -> str:
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]
