"""The contract of a site, kept by executors elsewhere: what is asked of those beside the farm is asked of machines that
are reached through a router, TLS and their own gateways. (Simulated executors run nothing: they have no site.)"""

import pytest

from tests.contract.site_suite import SiteSuite
from tests.contract.yard import Yard
from tests.machines.far_yard import Ec2Yard, PodYard, StaticYard

pytestmark = pytest.mark.timeout(600)


class TestOwnedMachines(SiteSuite):
    @classmethod
    def make_yard(cls) -> Yard:
        return StaticYard("ray")


class TestInstances(SiteSuite):
    @classmethod
    def make_yard(cls) -> Yard:
        return Ec2Yard("plain")


class TestPods(SiteSuite):
    @classmethod
    def make_yard(cls) -> Yard:
        return PodYard("ray")
