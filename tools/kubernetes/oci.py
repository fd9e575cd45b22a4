"""Images without Docker: an OCI archive is a tar of a few JSON files and the tars of its layers."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MEDIA = "application/vnd.oci.image"
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Image:
    """`layers` are uncompressed tars: the quickest to import."""

    name: str
    layers: Sequence[Path]
    env: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()
    user: str = ""
    folder: str = ""


def write(image: Image, target: Path) -> None:
    """The archive, whole or not at all."""
    blobs: dict[str, bytes | Path] = {digest(layer): layer for layer in image.layers}
    layers = [_described("layer.v1.tar", layer, digest(layer)) for layer in image.layers]
    config = _blob(blobs, "config.v1+json", _config(image, [layer["digest"] for layer in layers]))
    manifest = _blob(blobs, "manifest.v1+json", _manifest(config, layers))
    names = {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name}
    index = {"schemaVersion": 2, "manifests": [manifest | {"annotations": names}]}
    fresh = target.with_suffix(".new")
    with tarfile.open(fresh, "w", format=tarfile.PAX_FORMAT) as archive:
        _put(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _put(archive, "index.json", json.dumps(index).encode())
        for name, content in blobs.items():
            _put(archive, f"blobs/sha256/{name}", content)
    fresh.replace(target)


def digest(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _config(image: Image, layers: Sequence[str]) -> dict[str, Any]:
    env = [f"{key}={value}" for key, value in {"PATH": PATH, **image.env}.items()]
    runs = {"Env": env, "Entrypoint": list(image.entrypoint), "User": image.user, "WorkingDir": image.folder}
    return {
        "architecture": MACHINE[platform.machine()],
        "os": "linux",
        "config": {key: value for key, value in runs.items() if value},
        "rootfs": {"type": "layers", "diff_ids": list(layers)},
    }


def _manifest(config: dict[str, Any], layers: list[dict[str, Any]]) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": f"{MEDIA}.manifest.v1+json", "config": config, "layers": layers}


def _described(media: str, content: bytes | Path, name: str) -> dict[str, Any]:
    size = content.stat().st_size if isinstance(content, Path) else len(content)
    return {"mediaType": f"{MEDIA}.{media}", "digest": f"sha256:{name}", "size": size}


def _blob(blobs: dict[str, bytes | Path], media: str, value: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(value, sort_keys=True).encode()
    name = hashlib.sha256(text).hexdigest()
    blobs[name] = text
    return _described(media, text, name)


def _put(archive: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    entry = tarfile.TarInfo(name)
    if isinstance(content, bytes):
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        return
    entry.size = content.stat().st_size
    with open(content, "rb") as opened:
        archive.addfile(entry, opened)
