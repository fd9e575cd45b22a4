"""One clone: a QEMU that wakes up in the middle of a template's life, and is told who it is before anything else."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from executors.errors import Lost
from executors.vmclone.frames import packed
from executors.vmclone.identity import Identity
from executors.vmclone.machine import Machine, launch
from executors.vmclone.qemu import AWAITING, state_uri
from executors.vmclone.qmp import incoming
from executors.vmclone.template import Template


@dataclass(slots=True)
class Clone:
    """Started; `meet` tells whether it lives."""

    machine: Machine
    identity: Identity

    def meet(self, within_s: float) -> None:
        """Wait until it has taken on its identity. Raises Lost when that takes longer, or it answers for another."""
        word = self.machine.next_word(within_s)
        if word.get("hello") != self.identity.nonce:
            raise Lost("the clone answered with another one's nonce")


def start(template: Template, executor: str, folder: Path) -> Clone:
    """Its disk and logs are in `folder`; it dies with the calling thread. All it has to hear is written before it
    listens. Raises OSError, Lost."""
    disk = folder / "disk.qcow2"
    if not disk.exists():
        shutil.copyfile(template.folder / "overlay.qcow2", disk)
    identity = Identity.fresh(executor)
    state = os.open(template.state, os.O_RDONLY | os.O_CLOEXEC)
    try:
        machine = launch(
            template.shape,
            folder,
            memory=template.memory,
            private=True,
            disk=disk,
            boot=template.boot,
            more=AWAITING,
            keep=(state,),
            said=(incoming(state_uri(template.shape, template.state, state)), packed(identity.words())),
        )
    finally:
        os.close(state)
    return Clone(machine, identity)
