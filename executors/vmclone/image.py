"""The disk of a template: a minimal Debian with its kernel, made by mmdebstrap from this machine's own mirrors."""

import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from executors.errors import Refused
from executors.passed_on import OUTWARD, passed_on
from executors.vmclone import init
from executors.vmclone.qemu import IMAGES, need
from executors.vmclone.recipe import Recipe, cache

ALWAYS = ("python3", "linux-image-cloud-amd64", "initramfs-tools", "busybox", "util-linux", "mount")
MODULES = "virtio_pci\\nvirtio_blk\\next4\\nvirtio_console\\n"
DISK = "16G"  # a file with holes
STUB = 64 << 10  # bytes of a kernel that clones are given: they never run it, and QEMU would read all of it
Tell = Callable[[str], None]


def image(recipe: Recipe, tell: Tell) -> Path:
    """Folder with disk.qcow2, vmlinuz, initrd, stub, empty and recipe.json. Raises Refused."""
    folder = cache() / "images" / recipe.digest()
    if not (folder / "recipe.json").exists():
        _make(recipe, folder, tell)
    return folder


def _make(recipe: Recipe, folder: Path, tell: Tell) -> None:
    need("mmdebstrap", "mkfs.ext4", IMAGES, "apt-get", "unshare")
    if os.geteuid() != 0:
        raise Refused("the disk of VM clones is made as root; type: sudo -E farm template build (clones need no root)")
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=folder.parent) as place:
        made = Path(place) / "image"
        made.mkdir()
        tell(f"making a minimal Debian ({recipe.release}) with {' '.join((*ALWAYS, *recipe.packages))}")
        _debian(recipe, Path(place))
        _files(Path(place) / "root", made)
        (made / "recipe.json").write_text(json.dumps(asdict(recipe)))
        os.sync()
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def _debian(recipe: Recipe, place: Path) -> None:
    """In namespaces of its own: whatever ends it, no mount of it is left."""
    for name, text in (("init", Path(init.__file__).read_text()), ("setup", recipe.setup)):
        (place / name).write_text(text)
    hooks = [
        (
            "essential",
            f'mkdir -p "$1/etc/initramfs-tools/conf.d"; printf \'{MODULES}\' >"$1/etc/initramfs-tools/modules"',
        ),
        ("essential", 'echo MODULES=list >"$1/etc/initramfs-tools/conf.d/farm"'),
        ("customize", f"install -D -m 755 '{place}/init' \"$1/opt/farm-init\""),
    ]
    if recipe.setup:
        words = "/opt/farm-setup" if recipe.setup.startswith("#!") else "sh /opt/farm-setup"
        script = f'install -m 755 \'{place}/setup\' "$1/opt/farm-setup" && chroot "$1" {words} </dev/null'
        hooks.append(("customize", script))
    command = [
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"),
        *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join((*ALWAYS, *recipe.packages))}"),
        *(f"--dpkgopt=path-exclude=/usr/share/{what}/*" for what in ("man", "locale", "info")),
        *(f"--{when}-hook={what}" for when, what in hooks),
        *(recipe.release, str(place / "root"), "-"),
    ]
    try:
        run(command, mirrors(recipe.release))
    except Refused as error:
        what = f"no Debian {recipe.release!r} could be made: look at the pool's image, packages and setup"
        raise Refused(f"{what}; {error}") from error


def mirrors(release: str) -> str:
    """Lines for apt: those of this machine where they are of this release, else its first mirror."""
    own = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    form = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    said = run(["apt-get", "indextargets", "--format", form, "Identifier: Packages", "Origin: Debian"], "")
    lines = sorted(set(said.splitlines()))
    if not lines:
        raise Refused("apt on this machine knows no mirror of Debian, and the disk of VM clones is made from one")
    if release == own:
        return "\n".join(lines)
    first = next((line for line in lines if line.split()[2] == own), lines[0])
    return f"deb {first.split()[1]} {release} main"


def _files(root: Path, made: Path) -> None:
    kernels = sorted((root / "boot").glob("vmlinuz-*"))
    if not kernels:
        raise Refused("the image has no kernel in /boot")
    version = kernels[-1].name.removeprefix("vmlinuz-")
    shutil.copy(kernels[-1], made / "vmlinuz")
    shutil.copy(root / "boot" / f"initrd.img-{version}", made / "initrd")
    (made / "stub").write_bytes(kernels[-1].read_bytes()[:STUB])
    (made / "empty").write_bytes(b"")
    shutil.rmtree(root / "boot")
    shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
    raw = made.parent / "disk.raw"
    options = ["-O", "^has_journal", "-E", "lazy_itable_init=0", "-i", "32768", "-m", "0"]
    run(["mkfs.ext4", "-q", "-F", "-L", "farm", *options, "-d", str(root), str(raw), DISK], "")
    run([IMAGES, "convert", "-O", "qcow2", str(raw), str(made / "disk.qcow2")], "")


def run(command: Sequence[str], told: str) -> str:
    """Its output. Raises Refused with the end of what it said when it fails."""
    env = passed_on(*OUTWARD)  # a pool's setup sees it
    done = subprocess.run(command, input=told, capture_output=True, text=True, errors="replace", env=env)
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split())[-1000:]
        raise Refused(f"{command[0]} failed ({done.returncode}): {words}")
    return done.stdout
