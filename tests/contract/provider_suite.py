"""What every Provider must do. Subclass ProviderSuite and say how a provider is made."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from executors.contract import MachineState, Order, Provider, Watches
from executors.errors import SoldOut
from tests.contract.yard import eventually


class ProviderSuite:
    """At least four slots fit. `provider` may be made anew at any time: what it sells lives elsewhere."""

    ceiling = 4

    def make(self) -> Provider:
        """Another provider object for the same pool, as after a restart."""
        raise NotImplementedError

    def break_down(self, machine: str) -> None:
        """End a machine behind the provider's back."""
        raise NotImplementedError

    @pytest.fixture
    def provider(self) -> Iterator[Provider]:
        provider = self.make()
        yield provider
        provider.terminate([m.id for m in provider.machines()])
        if isinstance(provider, Watches):
            provider.close()

    def order(self, token: str, count: int = 1, slots: int = 1) -> Order:
        return Order(token, "pool", count, slots)

    def test_offers_have_a_price(self, provider: Provider):
        offers = provider.offers()
        assert offers
        assert all(o.price_per_hour >= 0 and o.slots >= 1 and o.key for o in offers)

    def test_an_order_gives_machines_that_are_listed(self, provider: Provider):
        placed = provider.launch(self.order("a", count=2))
        assert len({m.id for m in placed.machines}) == 2
        assert placed.refused == ()
        listed = {m.id: m for m in provider.machines()}
        for machine in placed.machines:
            found = listed[machine.id]
            assert (found.order, found.slots, found.launched_at) == ("a", 1, machine.launched_at)
            assert found.state is not MachineState.ENDED
            assert found.launched_at.utcoffset() == timedelta(0)

    def test_the_same_token_never_buys_twice(self, provider: Provider):
        first = provider.launch(self.order("a", count=2))
        again = provider.launch(self.order("a", count=2))
        assert {m.id for m in again.machines} == {m.id for m in first.machines}
        assert len(provider.machines()) == 2

    def test_another_token_buys_others(self, provider: Provider):
        (one,) = provider.launch(self.order("a")).machines
        (two,) = provider.launch(self.order("b")).machines
        assert one.id != two.id

    def test_all_is_found_after_a_restart(self, provider: Provider):
        placed = provider.launch(self.order("a", count=2))
        again = self.make()
        assert {m.id for m in again.machines()} == {m.id for m in placed.machines}
        assert {m.id for m in again.launch(self.order("a", count=2)).machines} == {m.id for m in placed.machines}
        assert len(provider.machines()) == 2
        again.terminate([placed.machines[0].id])
        states = {m.id: m.state for m in provider.machines()}
        assert states[placed.machines[0].id] is MachineState.ENDED
        assert states[placed.machines[1].id] is not MachineState.ENDED

    def test_terminating_is_idempotent_and_exact(self, provider: Provider):
        one, two = provider.launch(self.order("a", count=2)).machines
        provider.terminate([one.id])
        provider.terminate([one.id, "never-heard-of"])
        provider.terminate([])
        listed = {m.id: m for m in provider.machines()}
        assert listed[one.id].state is MachineState.ENDED
        assert (listed[one.id].ended_at is not None, listed[one.id].error) == (True, "")
        assert listed[one.id].ended_at >= listed[one.id].launched_at
        assert listed[two.id].state is not MachineState.ENDED
        assert listed[two.id].ended_at is None

    def test_an_ended_machine_is_not_bought_again(self, provider: Provider):
        (one,) = provider.launch(self.order("a")).machines
        provider.terminate([one.id])
        ended = next(m for m in provider.machines() if m.id == one.id)
        (again,) = provider.launch(self.order("a")).machines
        assert again == ended

    def test_more_than_fits_is_placed_in_part(self, provider: Provider):
        placed = provider.launch(self.order("a", count=self.ceiling + 2))
        assert len(placed.machines) == self.ceiling
        assert [type(r.error) for r in placed.refused] == [SoldOut]
        with pytest.raises(SoldOut):
            provider.launch(self.order("b"))
        provider.terminate([placed.machines[0].id])
        assert len(provider.launch(self.order("c")).machines) == 1

    def test_a_machine_that_breaks_down_is_noticed(self, provider: Provider):
        assert isinstance(provider, Watches)
        one, two = provider.launch(self.order("a", count=2)).machines
        assert provider.vanished(timedelta(0)) == []
        self.break_down(one.id)
        assert list(provider.vanished(timedelta(seconds=10))) == [one.id]
        listed = {m.id: m for m in provider.machines()}
        assert (listed[one.id].state, bool(listed[one.id].error)) == (MachineState.ENDED, True)
        assert listed[two.id].state is not MachineState.ENDED
        assert provider.vanished(timedelta(0)) == []

    def test_what_was_asked_for_is_not_noticed(self, provider: Provider):
        assert isinstance(provider, Watches)
        (one,) = provider.launch(self.order("a")).machines
        provider.terminate([one.id])
        assert provider.vanished(timedelta(seconds=0.1)) == []

    def test_close_wakes_who_watches(self, provider: Provider):
        assert isinstance(provider, Watches)
        provider.close()
        assert provider.vanished(timedelta(minutes=5)) == []

    def test_machines_come_up(self, provider: Provider):
        (one,) = provider.launch(self.order("a")).machines
        self.later()
        eventually(lambda: [m.state for m in provider.machines() if m.id == one.id] == [MachineState.RUNNING])

    def later(self) -> None:
        """Let boot times pass, where the clock is ours."""
