"""The roads of the bench: the farm's side, a router that translates addresses, a cable for each machine.

    farm 10.87.0.1 ── 10.87.0.2 router 10.88.N.1 ── 10.88.N.2 machine N

The farm knows no way to the machines and the router lets no new connection in, as a household's router. Machines do
not see each other. Nothing of it touches the host's own network, and no packet leaves the bench.
"""

from tests.machines.cable import Cable
from tests.machines.netspace import NetSpace

FARM = "10.87.0.1"
ROUTER = "10.87.0.2"
NAME = "farm.bench"
RULES = """
table ip bench {
  set cut { type ipv4_addr; }
  chain loss { }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ip saddr @cut drop
    ip daddr @cut drop
    jump loss
    iifname "up" ct state established,related accept
    oifname "up" accept
  }
  chain nat {
    type nat hook postrouting priority srcnat;
    oifname "up" masquerade
  }
}
"""
SYSCTLS = "net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=0"


class Network:
    """`farm` is where the farm, a cloud's API and whatever else "the internet" has are run."""

    def __init__(self) -> None:
        self.farm, self.router = NetSpace(), NetSpace()
        self._cables: list[Cable] = []
        self._plugged = 0
        self._wire()

    def _wire(self) -> None:
        self.farm.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "up", "netns", str(self.router.pid))
        address(self.farm, "eth0", f"{FARM}/24")
        address(self.router, "up", f"{ROUTER}/24")
        self.router.run("nft", "-f", "-", text=RULES)
        for setting in SYSCTLS.split():
            name, value = setting.split("=")
            self.router.run("sh", "-c", f"[ ! -e {sysctl(name)} ] || echo {value} >{sysctl(name)}")

    def plug(self) -> Cable:
        """A cable for one more machine."""
        self._plugged += 1
        cable = Cable(self.router, self._plugged)
        self._cables.append(cable)
        return cable

    def also_farm(self, host: str) -> None:
        """The farm's side answers at one more address, `10.87.0.<n>`."""
        self.farm.run("ip", "address", "add", f"{host}/24", "dev", "eth0")

    def close(self) -> None:
        for cable in self._cables:
            cable.close()
        self.router.close()
        self.farm.close()


def address(space: NetSpace, device: str, value: str) -> None:
    space.run("ip", "address", "add", value, "dev", device)
    space.run("ip", "link", "set", "dev", device, "up")


def sysctl(name: str) -> str:
    return "/proc/sys/" + name.replace(".", "/")
