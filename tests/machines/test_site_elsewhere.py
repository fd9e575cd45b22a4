"""The contract of a site, kept by executors elsewhere: what is asked of those beside the farm is asked of machines that
are reached through a router, TLS and their own gateways. (Simulated executors run nothing: they have no site.)"""

import pytest

from executors.site.proc import descendants
from tests.contract.site_suite import SiteGround, SiteSuite
from tests.contract.yard import Yard
from tests.machines.far_yard import Ec2Yard, FarYard, PodYard, StaticYard
from tests.machines.ports import LOOPBACK, listening, ray_answers, reachable, sockets

pytestmark = pytest.mark.timeout(600)


class Shut(SiteGround):
    def test_nothing_listens_for_others_where_it_works(self, yard: Yard, on: str):
        pid = yard.process(on)
        assert [place for place, _inode in sockets(pid) if not place.startswith(LOOPBACK)] == []
        assert reachable([pid, *descendants(pid)]) == []


class RayShut(Shut):
    def test_its_ray_answers_nobody_without_the_token(self, yard: FarYard, on: str):
        address, token = yard.head(on)
        pid = yard.process(on)
        assert ray_answers(pid, address, token)
        assert not ray_answers(pid, address, "")
        wrong = yard.home / "wrong"
        wrong.write_text("0" * 64)
        assert not ray_answers(pid, address, str(wrong))


def test_what_listens_for_others_is_seen():
    told = "0: 00000000:270F 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 77"
    loopback = "1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 78"
    gone = "2: 0258580A:CB 0157570A:20FB 01 00000000:00000000 00:00000000 00000000 0 0 79"
    assert listening(f"sl local_address\n{told}\n{loopback}\n{gone}") == [
        ("00000000:270F", "77"),
        ("0100007F:1F90", "78"),
    ]


class TestOwnedMachines(SiteSuite, RayShut):
    @classmethod
    def make_yard(cls) -> Yard:
        return StaticYard("ray")


class TestInstances(SiteSuite, Shut):
    @classmethod
    def make_yard(cls) -> Yard:
        return Ec2Yard("plain")


class TestPods(SiteSuite, Shut):
    @classmethod
    def make_yard(cls) -> Yard:
        return PodYard("plain")
