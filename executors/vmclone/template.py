"""A template: a guest that was booted once, warmed, looked at, and frozen for good."""

import contextlib
import fcntl
import json
import os
import shutil
import struct
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from executors.errors import Lost, Refused
from executors.vmclone import program
from executors.vmclone.facts import unfit
from executors.vmclone.frames import packed
from executors.vmclone.image import Tell, image, run
from executors.vmclone.machine import Machine, launch
from executors.vmclone.qemu import IMAGES, QEMU, Shape, fingerprint, need
from executors.vmclone.qmp import Control
from executors.vmclone.recipe import Spec, cache

TRIES = 3  # a host may be too busy at times
BOOT_S = 900.0  # emulated, on a busy host, with a warm script
ANSWER_S, FREEZE_S = 60.0, 120.0
ABANDONED_S = 7 * 86400.0  # a template that nobody has cloned for so long goes


class Unfit(Lost):
    """It booted, but clones of it would be no good."""


@dataclass(frozen=True, slots=True)
class Template:
    """memory, state, disk.qcow2, overlay.qcow2 (empty: what a clone gets a copy of), manifest.json in `folder`."""

    folder: Path
    shape: Shape
    boot: tuple[Path, Path]  # what stands in for kernel and initrd
    manifest: dict[str, Any]

    @property
    def memory(self) -> Path:
        return self.folder / "memory"

    @property
    def state(self) -> Path:
        return self.folder / "state"


def folder_of(spec: Spec) -> Path:
    return cache() / spec.digest()


def opened(folder: Path) -> Template | None:
    """The template in this folder; None when there is none, or another QEMU has to read it."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        shape = Shape(**manifest["shape"])
        stand_in = Path(manifest["image"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Template(folder, shape, (stand_in / "stub", stand_in / "empty"), manifest)


def templates() -> list[Template]:
    found = (opened(path.parent) for path in sorted(cache().glob("*/manifest.json")))
    return [template for template in found if template]


def build(spec: Spec, tell: Tell) -> Template:
    """The template of this spec, made when it is not there; others that want it wait. Raises Refused."""
    need(QEMU, IMAGES)
    folder = folder_of(spec)
    with building(spec):
        found = opened(folder)
        if found is None:
            found = _make(spec, folder, tell)
            abandon()
        return found


@contextlib.contextmanager
def building(spec: Spec, block: bool = True) -> Iterator[None]:
    """Hold the right to make it. Raises BlockingIOError when somebody else does and `block` is False."""
    cache().mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(cache() / f"{spec.digest()}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if block else fcntl.LOCK_NB))
        yield


def _make(spec: Spec, folder: Path, tell: Tell) -> Template:
    disk = image(spec.recipe, tell)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=cache()) as place:
        made = Path(place) / "template"
        try:
            facts = _persistently(spec, disk, made, tell)
        except Lost as error:
            raise Refused(f"the template could not be made: {error}") from error
        _complete(spec, disk, made, folder, facts)
        tell("cloning it once")
        _verify(made, folder)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    tell(f"template {folder.name} is ready")
    found = opened(folder)
    assert found is not None
    return found


def _persistently(spec: Spec, disk: Path, made: Path, tell: Tell) -> dict[str, Any]:
    for left in range(TRIES - 1, -1, -1):
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(mode=0o700)
        base = ["-b", str(disk / "disk.qcow2"), "-F", "qcow2"]
        run([IMAGES, "create", "-q", "-f", "qcow2", *base, str(made / "disk.qcow2")], "")
        try:
            return _frozen(spec, disk, made, tell)
        except Unfit as error:
            if not left:
                raise
            tell(f"{error}; once more")
    raise AssertionError("unreachable")


def _frozen(spec: Spec, disk: Path, made: Path, tell: Tell) -> dict[str, Any]:
    """Boot, warm, look, freeze; what the guest told of itself."""
    tell(f"booting it with {spec.shape.vcpus} cpus and {spec.shape.mib} MiB")
    memory = made / "memory"
    zipped = program.program()
    first = struct.pack("!I", len(zipped)) + zipped + packed({"slots": spec.shape.vcpus, "warm": spec.warm})
    boot = (disk / "vmlinuz", disk / "initrd")
    machine = launch(spec.shape, made, memory=memory, private=False, disk=made / "disk.qcow2", boot=boot)
    try:
        machine.line.settimeout(BOOT_S)
        machine.line.sendall(first)
        return _freeze(machine, made, tell)
    except OSError as error:
        raise Lost(f"the guest took nothing in: {error}") from error
    finally:
        machine.end()


def _freeze(machine: Machine, made: Path, tell: Tell) -> dict[str, Any]:
    up, here = machine.next_word(BOOT_S).get("up"), time.monotonic_ns()
    facts = machine.next_word(BOOT_S).get("warm")
    passed = time.monotonic_ns() - here
    if not isinstance(facts, dict) or not isinstance(up, int):
        raise Lost("the guest did not say that it is warm")
    if why := unfit(facts, (facts["monotonic"] - up) / passed):
        raise Unfit(why)
    tell("freezing it")
    Control(machine.control, ANSWER_S).freeze(str(made / "state"), FREEZE_S)
    return facts


def _complete(spec: Spec, disk: Path, made: Path, folder: Path, facts: dict[str, Any]) -> None:
    """The empty overlay names its base by the place where that is going to be."""
    size = json.loads(run([IMAGES, "info", "--output=json", str(made / "disk.qcow2")], ""))["virtual-size"]
    base = ["-b", str(folder / "disk.qcow2"), "-F", "qcow2"]
    run([IMAGES, "create", "-q", "-u", "-f", "qcow2", *base, str(made / "overlay.qcow2"), str(size)], "")
    manifest = {
        "digest": spec.digest(),
        "image": str(disk),
        "recipe": asdict(spec.recipe),
        "shape": spec.shape.words(),
        "argv": fingerprint(spec.shape),
        "program": program.digest(),
        "warm": spec.warm,
        "facts": facts,
        "made_at": time.time_ns(),
    }
    (made / "manifest.json").write_text(json.dumps(manifest, indent=1))
    os.sync()


def _verify(made: Path, folder: Path) -> None:
    """Clone it where it was made, before anybody can find it."""
    from executors.vmclone.clone import start

    template = opened(made)
    assert template is not None
    place = made.parent / "trial"
    place.mkdir()
    overlay = place / "disk.qcow2"
    run([IMAGES, "create", "-q", "-f", "qcow2", "-b", str(made / "disk.qcow2"), "-F", "qcow2", str(overlay)], "")
    clone = start(template, "trial", place)
    try:
        clone.meet(ANSWER_S)
    except Lost as error:
        raise Refused(f"the template's first clone failed: {error}") from error
    finally:
        clone.machine.end()


@contextlib.contextmanager
def in_use(template: Template) -> Iterator[None]:
    """While this is held nobody takes the template away. Raises OSError when it is gone."""
    with open(template.folder / "manifest.json") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        os.utime(template.folder / "manifest.json")
        yield


def abandon(older_s: float = ABANDONED_S) -> list[str]:
    """Remove templates that nobody has cloned for long, and does not now; their names."""
    gone = []
    for template in templates():
        file = template.folder / "manifest.json"
        try:
            if abs(time.time() - file.stat().st_mtime) < older_s:
                continue
            with open(file) as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(template.folder, ignore_errors=True)
        except OSError:
            continue
        gone.append(template.folder.name)
    return gone
