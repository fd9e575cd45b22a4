"""The cable between one machine and the router: it can be cut, narrow, long, or lose packets."""

import subprocess
import sys
from pathlib import Path

from tests.machines.netspace import NetSpace

DELAY = Path(__file__).with_name("delay_line.py")


class Cable:
    """Ends in a network namespace of its own, which outlives the machine's boots: `machine` is that end."""

    def __init__(self, router: NetSpace, number: int) -> None:
        self._router, self._n = router, number
        self._line: subprocess.Popen[bytes] | None = None
        self.address = f"10.88.{number}.2"
        self.machine = NetSpace()
        self._lay()

    def _lay(self) -> None:
        n, router = self._n, self._router
        for line in (
            f"link add m{n} address 02:00:00:00:00:{n:02x} type bridge stp_state 0",
            f"link add v{n} type veth peer name eth0 netns {self.machine.pid}",
            f"link set v{n} master m{n} up",
            f"address add 10.88.{n}.1/24 dev m{n}",
            f"link set m{n} up",
        ):
            router.run("ip", *line.split())
        for line in (
            f"address add {self.address}/24 dev eth0",
            "link set eth0 up",
            f"route add default via 10.88.{n}.1",
        ):
            self.machine.run("ip", *line.split())

    def cut(self) -> None:
        """Packets vanish in both directions; neither side is told, as with a real cut."""
        self._nft(f"add element ip bench cut {{ {self.address} }}")

    def restore(self) -> None:
        self._nft(f"delete element ip bench cut {{ {self.address} }}")

    def slow(self, *, kbit: int = 0, delay_ms: float = 0, loss: float = 0) -> None:
        """From now on, in each direction: at most so much, so late, with that share lost. 0 is no such limit."""
        self._narrow(kbit)
        self._lose(loss)
        self._lengthen(delay_ms)

    def _narrow(self, kbit: int) -> None:
        for space, device in ((self._router, f"v{self._n}"), (self.machine, "eth0")):
            if kbit:
                shape = f"tbf rate {kbit}kbit burst 32kb latency 400ms"
                space.run(*f"tc qdisc replace dev {device} root {shape}".split())
            else:
                space.run("sh", "-c", f"tc qdisc del dev {device} root 2>/dev/null || :")

    def _lose(self, loss: float) -> None:
        chain = f"loss{self._n}"
        self._nft(f"add chain ip bench {chain}\nflush chain ip bench {chain}")
        if not loss:
            return
        for end in ("saddr", "daddr"):
            which = "" if loss >= 1 else f"numgen random mod 10000 < {round(loss * 10000)} "
            rule = f"ip {end} {self.address} {which}drop"
            self._nft(f"add rule ip bench {chain} {rule}")
        if f"jump {chain}" not in self._router.run("nft", "list", "chain", "ip", "bench", "loss"):
            self._nft(f"add rule ip bench loss jump {chain}")

    def _lengthen(self, delay_ms: float) -> None:
        """A bridge in the middle is taken apart and a program of ours holds every frame for so long: few kernels
        have netem."""
        if self._line:
            self._router.run("ip", "link", "set", f"v{self._n}", "master", f"m{self._n}")
            self._line.communicate(timeout=30)  # its taps go with it
            self._router.run("ip", "link", "del", f"w{self._n}")
            self._line = None
        if delay_ms:
            self._insert(delay_ms)

    def _insert(self, delay_ms: float) -> None:
        n, argv = self._n, [sys.executable, "-IS", str(DELAY), f"a{self._n}", f"b{self._n}", str(delay_ms)]
        self._line = self._router.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._line.stdout is not None
        if self._line.stdout.readline() != b"up\n":
            raise OSError("this kernel gives no tap devices (/dev/net/tun): the bench can't make a connection slow")
        for line in (
            f"link add w{n} address 02:00:00:00:01:{n:02x} type bridge stp_state 0",
            f"link set w{n} up",
            f"link set a{n} master m{n} up",
            f"link set b{n} master w{n} up",
            f"link set v{n} master w{n}",
        ):
            self._router.run("ip", *line.split())

    def _nft(self, text: str) -> None:
        self._router.run("nft", "-f", "-", text=text + "\n")

    def close(self) -> None:
        if self._line:
            self._line.communicate(timeout=30)
            self._line = None
        self.machine.close()
