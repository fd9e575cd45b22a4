"""Programs of Debian in a folder: packages and what they depend on are fetched by apt and unpacked, never installed."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


def unpacked(folder: Path, *packages: str) -> Path:
    """The root that they were unpacked into. Raises subprocess.CalledProcessError with what apt said."""
    root, cache = folder / "root", folder / "cache"
    if root.exists():
        return root
    (cache / "archives" / "partial").mkdir(parents=True)
    call = ["apt-get", "-y", "-q", "--no-install-recommends", "--download-only", "-o", f"Dir::Cache={cache}"]
    subprocess.run([*call, "install", *packages], check=True, capture_output=True, text=True)
    root.mkdir()
    for package in sorted((cache / "archives").glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(package), str(root)], check=True, capture_output=True, text=True)
    return root


def surroundings(root: Path) -> Mapping[str, str]:
    """The environment in which its programs find their libraries."""
    libraries = sorted({str(path.parent) for path in root.rglob("*.so*")})
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}
