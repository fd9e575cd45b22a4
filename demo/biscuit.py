"""The scene: POV-Ray's advanced/biscuit.pov by Fabien Mosen, CC BY-SA 3.0, from Debian's package povray-examples."""

import gzip
import os
from pathlib import Path

from demo.story import Broken

INSTALLED = Path("/usr/share/doc/povray/examples/advanced/biscuit.pov")
CREDIT = "biscuit.pov by Fabien Mosen, CC BY-SA 3.0, https://creativecommons.org/licenses/by-sa/3.0/"
BEFORE = "location  <20,40,28>"
AFTER = "location  vrotate(<20,40,28>, y*360*clock)"


def find_scene() -> Path:
    """Where Debian put it, or where `make programs` did. Raises Broken."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "elastic-farm", "scenes", "biscuit.pov")
    for path in (INSTALLED, INSTALLED.with_suffix(".pov.gz"), cache):
        if path.exists():
            return path
    raise Broken(f"there is no biscuit.pov at {INSTALLED} or {cache}; type: make programs")


def turning(scene: Path) -> str:
    """The scene with the one edit, made by hand: what the farm does by itself is compared with it. Raises Broken."""
    data = scene.read_bytes()
    text = (gzip.decompress(data) if scene.suffix == ".gz" else data).decode("latin-1")
    if text.count(BEFORE) != 1:
        raise Broken(f"{scene} is another biscuit.pov than expected: it has not one `{BEFORE}`")
    return text.replace(BEFORE, AFTER)
