"""The provider contract, kept by the local and by the simulated provider; what wraps and what finds them."""

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from executors import local, simulated
from executors.contract import MachineState, Order, Provider, Surroundings, Watches
from executors.errors import Lost, Refused, SoldOut, Throttled
from executors.metered import metered
from executors.registry import known, provider
from executors.simulated import Cloud, Dial, Fault, SimulatedOptions, SimulatedProvider
from tests.contract.provider_suite import ProviderSuite
from tests.contract.yard import commands_with, eventually


@pytest.fixture
def around() -> Iterator[Surroundings]:
    with tempfile.TemporaryDirectory(prefix="fp-", dir="/tmp") as home:
        yield Surroundings("f1", "pool", home, home, f"{home}/store", "plain", timedelta(seconds=60))


class TestLocal(ProviderSuite):
    @pytest.fixture(autouse=True)
    def _here(self, around: Surroundings):
        self.around = around

    def make(self) -> Provider:
        return local.provider({"ceiling": self.ceiling, "slots": 1}, self.around)

    def break_down(self, machine: str) -> None:
        signed = Path(self.around.home, "executors", machine, "machine.json")
        eventually(signed.exists)
        os.kill(json.loads(signed.read_text())["pid"], signal.SIGKILL)

    def test_an_ended_machine_leaves_nothing(self, provider: Provider):
        (one,) = provider.launch(self.order("a")).machines
        eventually(lambda: commands_with(f"agent_server --ticket {self.around.home}/executors/{one.id}"))
        provider.terminate([one.id])
        assert not commands_with(f"{self.around.home}/executors/{one.id}")
        assert not Path(self.around.home, "executors", one.id).exists()

    def test_what_a_crash_left_unstarted_is_started(self, provider: Provider):
        folder = Path(self.around.home, "executors", "a-1")
        folder.mkdir(parents=True)
        order = {"token": "a", "slots": 1, "launched_at": 1}
        (folder / "order.json").write_text(json.dumps(order | {"launched_at": 2 * 10**18}))
        assert [m.state for m in provider.machines()] == [MachineState.BOOTING]
        (one,) = provider.launch(self.order("a")).machines
        assert one.id == "a-1"
        eventually(lambda: [m.state for m in provider.machines()] == [MachineState.RUNNING])

    def test_what_a_crash_left_long_ago_has_ended(self, provider: Provider):
        folder = Path(self.around.home, "executors", "a-1")
        folder.mkdir(parents=True)
        (folder / "order.json").write_text(json.dumps({"token": "a", "slots": 1, "launched_at": 1}))
        assert [m.state for m in provider.machines()] == [MachineState.ENDED]

    def test_the_price_is_the_configured_one(self):
        made = local.provider({"price_per_hour": "0.05"}, self.around)
        assert [o.price_per_hour for o in made.offers()] == [Decimal("0.05")]

    def test_an_unknown_option_is_refused_with_the_right_one(self):
        with pytest.raises(Refused, match="price_per_hours, did you mean price_per_hour"):
            local.provider({"price_per_hours": 1}, self.around)
        with pytest.raises(Refused, match="slots"):
            local.provider({"slots": "many"}, self.around)


class TestSimulated(ProviderSuite):
    @pytest.fixture(autouse=True)
    def _here(self):
        self.dial = Dial()
        self.cloud = Cloud(SimulatedOptions(stock=self.ceiling, boot_s=30, boot_spread=0.5, seed=7), self.dial)

    def make(self) -> Provider:
        return SimulatedProvider(self.cloud, "pool")

    def break_down(self, machine: str) -> None:
        self.cloud.break_down(machine)

    def later(self) -> None:
        self.dial.turn(timedelta(minutes=10))

    def test_boot_times_are_spread_and_repeatable(self):
        def boots() -> list[timedelta]:
            cloud = Cloud(SimulatedOptions(boot_s=30, boot_spread=0.5, seed=7), self.dial)
            return [r.ready_at - r.launched_at for r in cloud.rent("a", 50, 1)]

        assert boots() == boots()
        assert min(boots()) < timedelta(seconds=25) < timedelta(seconds=35) < max(boots())

    def test_the_bill_counts_from_launch_to_end(self, provider: Provider):
        (one,) = provider.launch(self.order("a")).machines
        self.dial.turn(timedelta(minutes=5))
        provider.terminate([one.id])
        self.dial.turn(timedelta(minutes=5))
        (ended,) = provider.machines()
        assert ended.ended_at - ended.launched_at == timedelta(minutes=5)
        self.dial.turn(timedelta(minutes=6))
        assert provider.machines() == []

    @pytest.mark.parametrize(
        ("fault", "error"), [(Fault.SOLD_OUT, SoldOut), (Fault.THROTTLED, Throttled), (Fault.REFUSED, Refused)]
    )
    def test_a_fault_places_nothing(self, provider: Provider, fault: Fault, error: type[Exception]):
        self.cloud.faults.append(fault)
        with pytest.raises(error):
            provider.launch(self.order("a"))
        assert provider.machines() == []
        assert len(provider.launch(self.order("a")).machines) == 1

    def test_an_answer_that_is_lost_has_bought_all_the_same(self, provider: Provider):
        self.cloud.faults.append(Fault.LOST_ANSWER)
        with pytest.raises(Lost):
            provider.launch(self.order("a", count=2))
        bought = {m.id for m in provider.machines()}
        assert len(bought) == 2
        assert {m.id for m in provider.launch(self.order("a", count=2)).machines} == bought

    def test_the_cloud_outlives_its_provider(self, around: Surroundings):
        simulated.provider({"stock": 3}, around).launch(Order("a", "pool", 2, 1))
        assert len(simulated.provider({"stock": 3}, around).machines()) == 2


class TestMetered:
    def test_it_keeps_the_capability_to_watch(self):
        cloud = Cloud(SimulatedOptions(), Dial())
        assert isinstance(metered(SimulatedProvider(cloud, "p"), "p"), Watches)

    def test_a_throttled_call_is_repeated_and_counted(self):
        cloud = Cloud(SimulatedOptions(faults=(Fault.THROTTLED,)), Dial())
        patient = metered(SimulatedProvider(cloud, "p"), "p")
        assert len(patient.launch(Order("a", "p", 1, 1)).machines) == 1
        assert patient.counts == {("launch", "Throttled"): 1, ("launch", "fine"): 1}

    def test_patience_ends(self):
        cloud = Cloud(SimulatedOptions(faults=(Fault.THROTTLED,) * 5), Dial())
        with pytest.raises(Throttled):
            metered(SimulatedProvider(cloud, "p"), "p").launch(Order("a", "p", 1, 1))
        assert len(cloud.faults) == 2

    def test_other_errors_are_not_repeated(self):
        cloud = Cloud(SimulatedOptions(faults=(Fault.SOLD_OUT,)), Dial())
        patient = metered(SimulatedProvider(cloud, "p"), "p")
        with pytest.raises(SoldOut):
            patient.launch(Order("a", "p", 1, 1))
        assert patient.counts == {("launch", "SoldOut"): 1}


class TestRegistry:
    def test_providers_are_found_by_name(self, around: Surroundings):
        assert {"local", "simulated"} <= set(known())
        assert isinstance(provider("simulated", {}, around), SimulatedProvider)

    def test_an_unknown_name_is_refused_with_the_right_one(self, around: Surroundings):
        with pytest.raises(Refused, match="there is no provider simulatd, did you mean simulated"):
            provider("simulatd", {}, around)
        with pytest.raises(Refused, match=r"known are .*local"):
            provider("xyzzy", {}, around)
