"""Clones of a virtual machine on this host: each is a process of ours with a QEMU beside it, kept in the same books as
local executors."""

import contextlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from executors.contract import Machine, Offer, Order, Placed, Prepared, Surroundings
from executors.errors import Refused, Throttled
from executors.local import LocalOptions, LocalProvider
from executors.options import Options, checked
from executors.passed_on import OUTWARD, for_python
from executors.site.guests import FILE
from executors.site.ticket import Ticket
from executors.site.wire import address
from executors.vmclone.image import Tell
from executors.vmclone.qemu import IMAGES, QEMU, need, shape
from executors.vmclone.recipe import Recipe, Spec
from executors.vmclone.template import Template, build, building, folder_of, opened, templates

OFFER = "vmclone"
SEAM = "executors.vmclone.seam"
LEAST_MIB = 256  # with less its Debian does not come up with what works in it


class VmcloneOptions(Options):
    """`slots` are a clone's cpus, `mib` its memory, both frozen with the template; `ceiling` is slots in all.
    `packages` are more packages of Debian in it; `warm` is a script that is run in it before it is frozen."""

    price_per_hour: Decimal = Decimal(0)
    slots: Annotated[int, Field(ge=1)] = 1
    ceiling: Annotated[int, Field(ge=0)] | None = None
    mib: Annotated[int, Field(ge=LEAST_MIB)] = 512
    packages: tuple[str, ...] = ()
    warm: str = ""
    accel: Literal["tcg", "kvm"] = "tcg"


def provider(options: Mapping[str, Any], around: Surroundings) -> "VmcloneProvider":
    """Raises Refused when an option is unknown or makes no sense."""
    return VmcloneProvider(checked(VmcloneOptions, options, OFFER), around)


class VmcloneProvider:
    """What it buys are processes of this host, as the local provider's: only what runs in them is a guest."""

    def __init__(self, options: VmcloneOptions, around: Surroundings) -> None:
        if around.network != "local":
            raise Refused('clones work beside the farm: leave network = "outbound" out of their pool')
        self._options, self._around = options, around
        chosen = LocalOptions(price_per_hour=options.price_per_hour, slots=options.slots, ceiling=options.ceiling)
        self._local = LocalProvider(chosen, around, OFFER, self._furnish)
        self._builder: subprocess.Popen[bytes] | None = None

    def offers(self) -> Sequence[Offer]:
        return self._local.offers()

    def machines(self) -> Sequence[Machine]:
        return self._local.machines()

    def terminate(self, ids: Collection[str], /) -> None:
        self._local.terminate(ids)

    def vanished(self, timeout: timedelta, /) -> Sequence[str]:
        return self._local.vanished(timeout)

    def close(self) -> None:
        self._local.close()

    # ── launching ────────────────────────────────────────────────────────────────────────────────

    def launch(self, order: Order, /) -> Placed:
        """Raises Throttled while the template is being made, which this begins where nobody has."""
        if not any(machine.order == order.token for machine in self._local.machines()):
            self._see_to(self.spec(order.slots or self._options.slots))
        return self._local.launch(order)

    def spec(self, slots: int) -> Spec:
        """The template of clones with so many slots. Raises Refused where there is no QEMU."""
        need(QEMU, IMAGES)
        recipe = Recipe(self._release(), self._options.packages, self._around.setup)
        return Spec(recipe, shape(slots, self._options.mib, self._options.accel), self._options.warm)

    def _release(self) -> str:
        """The pool's image, else this machine's own release of Debian."""
        if self._around.image:
            return self._around.image
        with contextlib.suppress(OSError):
            found = platform.freedesktop_os_release()
            if found.get("ID") == "debian" and "VERSION_CODENAME" in found:
                return found["VERSION_CODENAME"]
        raise Refused('this machine runs no Debian: name the release that clones are made of, as in image = "bookworm"')

    def _see_to(self, spec: Spec) -> None:
        """Raises Throttled while there is no template yet, Refused once when making it has failed."""
        folder = folder_of(spec)
        if opened(folder):
            return
        failed = folder.with_suffix(".failed")
        if failed.exists():
            what = failed.read_text()
            failed.unlink()
            raise Refused(what)
        self._begin(spec)
        raise Throttled(f"the template of the clones is being made, see {folder.with_suffix('.log')}")

    def _begin(self, spec: Spec) -> None:
        """A process of its own makes it, once: whoever waits for it may be given up meanwhile."""
        if self._builder is not None and self._builder.poll() is None:
            return
        try:
            with building(spec, block=False):
                pass
        except BlockingIOError:
            return
        file = folder_of(spec).with_suffix(".spec")
        file.write_text(spec.text())
        with open(file.with_suffix(".log"), "wb") as log:
            self._builder = subprocess.Popen(
                [sys.executable, "-P", "-m", "executors.vmclone.build", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=for_python("XDG_CACHE_HOME", *OUTWARD),
                start_new_session=True,
            )

    def _furnish(self, ticket: Ticket) -> None:
        """Tell the executor which template it clones. Raises OSError."""
        about = {
            "module": SEAM,
            "template": str(folder_of(self.spec(ticket.slots))),
            "line": address(ticket.run, ticket.executor).replace(".sock", ".guest"),
            "window": str(Path(ticket.run) / f"window-{_number(ticket.executor) % len(os.sched_getaffinity(0))}"),
        }
        (Path(ticket.folder) / FILE).write_text(json.dumps(about))

    # ── preparing ────────────────────────────────────────────────────────────────────────────────

    def prepare(self, tell: Tell, /) -> Prepared:
        return _told(build(self.spec(self._options.slots), tell))

    def prepared(self) -> Sequence[Prepared]:
        return [_told(template) for template in templates()]


def _number(executor: str) -> int:
    tail = executor.rpartition("-")[2]
    return int(tail) if tail.isdigit() else 0


def _told(template: Template) -> Prepared:
    kept = template.manifest
    recipe, form = kept["recipe"], template.shape
    cpus = f"{form.vcpus} cpu" if form.vcpus == 1 else f"{form.vcpus} cpus"
    what = f"{recipe['release']}, {cpus}, {form.mib} MiB, QEMU {form.version}"
    with_more = f"{what}, {' '.join(recipe['packages'])}" if recipe["packages"] else what
    blocks = sum(file.stat().st_blocks for file in template.folder.iterdir())
    made_at = datetime.fromtimestamp(kept["made_at"] / 1e9, UTC)
    return Prepared(template.folder.name, with_more, blocks * 512 >> 20, made_at)
