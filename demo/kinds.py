"""The kinds of machine that a farm can have elsewhere, in words, and what showing them takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Graph = Mapping[str, Sequence[str]]  # package → those that it is built with
THREE: Graph = {"paint": [], "canvas": ["paint"], "picture": ["canvas", "paint"]}
TWO: Graph = {"paint": [], "picture": ["paint"]}  # where each takes half a minute


@dataclass(frozen=True, slots=True)
class Kind:
    """`programs` are groups of tools/programs.sh, `modules` those of Python beyond the farm's own."""

    name: str
    title: str
    what: str
    coming: str  # what is waited for before the farm is up
    none: str  # what has to be so when no executor is needed
    going: str  # what takes some seconds to end
    programs: tuple[str, ...]
    modules: tuple[str, ...] = ()
    graph: Graph = field(default_factory=lambda: THREE)


STATIC = Kind(
    "static",
    "A farm, and two machines that somebody owns",
    "each has a Debian and a network of its own behind a router that lets nothing in: they join the farm by themselves",
    "the farm comes up; the machines boot, join with a ticket that is good once, and stand by",
    "both machines stand by, with no process and no file of an executor on them",
    "the machines and their network go",
    ("render", "machines"),
)
EC2 = Kind(
    "ec2",
    "A farm, and Amazon's EC2",
    "EC2 is played by moto, a server with its API; an instance that is bought there really boots, runs its user data"
    " and reaches the farm through a router",
    "the farm and EC2 come up",
    "EC2 lists no living instance, and no machine is on",
    "EC2 and its network go",
    ("render", "machines"),
    ("moto",),
)
KUBERNETES = Kind(
    "kubernetes",
    "A farm, and a Kubernetes cluster",
    "a real one, built from its sources: API server, scheduler, controllers, kubelet and containerd",
    "the cluster and the farm come up",
    "the namespace holds no pod and no secret",
    "the cluster goes",
    ("render", "machines"),
)
VMCLONE = Kind(
    "vmclone",
    "A farm, and clones of a virtual machine",
    "QEMU boots a Debian once and freezes it; every executor is a clone of it, with its own kernel, emulated",
    "the farm comes up",
    "no QEMU runs, and no disk of a clone is left",
    "the farm's folder goes",
    ("render", "clones"),
    graph=TWO,
)
KINDS = {kind.name: kind for kind in (STATIC, EC2, KUBERNETES, VMCLONE)}
