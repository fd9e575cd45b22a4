"""The provider of EC2, against moto's server behind a proxy that is as unkind as the real one."""

import base64
import json
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from executors import ec2
from executors.bootstrap import user_data
from executors.contract import MachineState, Order, Surroundings
from executors.ec2 import books, rental
from executors.ec2.remedies import TokenTaken, Unknown, remedy
from executors.ec2.rental import Ec2Provider
from executors.errors import Lost, Refused, SoldOut, Throttled
from executors.invitation import Invitation
from executors.metered import metered
from tests.contract.ec2_cloud import CREDENTIALS, Cloud, Moto
from tests.contract.provider_suite import ProviderSuite

AMI = "ami-0123456789abcdef0"


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    moto = Moto()
    yield moto
    moto.close()


@pytest.fixture
def cloud(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    cloud = Cloud(moto)
    yield cloud
    cloud.power_off(*cloud.living())
    cloud.close()


@pytest.fixture
def around() -> Iterator[Surroundings]:
    def invite(executor: str, slots: int) -> Invitation:
        return Invitation("https://farm", "CA", "f1", "pool", executor, slots, f"secret of {executor}", 600)

    with tempfile.TemporaryDirectory(prefix="fe-", dir="/tmp") as home:
        name = f"f{Path(home).name}"  # moto never forgets: each test is a farm of its own
        yield Surroundings(name, "pool", home, home, f"{home}/s", "plain", timedelta(seconds=60), invite=invite)


class OnEc2:
    ceiling = 4
    types: tuple[str, ...] = ("c7i.large",)

    @pytest.fixture(autouse=True)
    def _here(self, cloud: Cloud, around: Surroundings):
        self.cloud, self.around = cloud, around

    def make(self, **more: object) -> Ec2Provider:
        options = {"region": "eu-central-1", "instance_types": self.types, "image": AMI, "endpoint_url": self.cloud.url}
        made = ec2.provider({"ceiling": self.ceiling, **options, **more}, self.around)
        made._look_s = 0.2
        return made

    def instance(self, machine: str) -> str:
        return json.loads(Path(self.around.home, "ec2", f"{machine}.json").read_text())["instance"]


class TestEc2(OnEc2, ProviderSuite):
    def break_down(self, machine: str) -> None:
        self.cloud.power_off(self.instance(machine))


class TestBuying(OnEc2):
    types = ("c7i.large", "c6i.large")
    ceiling = 8

    def order(self, token: str = "a", count: int = 1, slots: int = 1) -> Order:
        return Order(token, "pool", count, slots)

    def run_calls(self) -> list[dict[str, str]]:
        return [call for call in self.cloud.calls if call["Action"] == "RunInstances"]

    def test_one_call_per_machine_with_its_own_token_tags_and_words(self):
        self.make(tags={"cost": "films"}).launch(self.order(count=2, slots=3))
        calls = sorted(self.run_calls(), key=lambda call: call["ClientToken"])
        assert [call["ClientToken"] for call in calls] == [f"{self.around.farm}-a-{n}" for n in (1, 2)]
        (one, _) = calls
        assert (one["MinCount"], one["MaxCount"], one["ImageId"]) == ("1", "1", AMI)
        assert one["InstanceInitiatedShutdownBehavior"] == "terminate"
        assert one["MetadataOptions.HttpTokens"] == "required"
        assert base64.b64decode(one["UserData"]).decode() == user_data(self.around.invite("a-1", 3))
        tags = {one[f"TagSpecification.1.Tag.{n}.Key"]: one[f"TagSpecification.1.Tag.{n}.Value"] for n in range(1, 8)}
        assert tags == {
            "cost": "films",
            "farm.io/farm": self.around.farm,
            "farm.io/pool": "pool",
            "farm.io/order": "a",
            "farm.io/executor": "a-1",
            "farm.io/slots": "3",
            "Name": "farm a-1",
        }

    # ── shortages ──

    def test_what_is_sold_out_is_bought_as_the_next_type_in_the_same_call(self):
        self.cloud.sold_out = {"c7i.large"}
        placed = self.make().launch(self.order(count=2))
        assert (len(placed.machines), placed.refused) == (2, ())
        assert [call["InstanceType"] for call in self.run_calls()].count("c6i.large") == 2

    def test_when_all_is_sold_out_nothing_is_kept_and_the_same_token_buys_later(self):
        self.cloud.sold_out = set(self.types)
        provider = self.make()
        with pytest.raises(SoldOut, match="EC2 says InsufficientInstanceCapacity"):
            provider.launch(self.order())
        assert provider.machines() == []
        self.cloud.sold_out = set()
        assert [m.id for m in provider.launch(self.order()).machines] == ["a-1"]

    def test_a_quota_gives_a_part_and_says_what_to_ask_for(self):
        self.cloud.quota = 2
        placed = self.make().launch(self.order(count=3))
        assert len(placed.machines) == 2
        assert [(r.offer.split("/")[0], type(r.error)) for r in placed.refused] == [(t, SoldOut) for t in self.types]
        assert "VcpuLimitExceeded" in str(placed.refused[0].error)
        assert "ask Amazon for a higher quota" in str(placed.refused[0].error)

    # ── lost answers ──

    def test_a_lost_answer_has_bought_and_the_same_token_gives_the_same_machine(self):
        self.cloud.faults.append(("RunInstances", "lost"))
        provider = self.make()
        with pytest.raises(Lost):
            provider.launch(self.order())
        (bought,) = self.cloud.living()
        assert [m.id for m in provider.launch(self.order()).machines] == ["a-1"]
        assert self.instance("a-1") == bought
        assert self.cloud.living() == [bought]

    def test_a_lost_answer_is_found_by_the_next_listing(self):
        self.cloud.faults.append(("RunInstances", "lost"))
        provider = self.make()
        with pytest.raises(Lost):
            provider.launch(self.order(slots=2))
        (found,) = provider.machines()
        assert (found.id, found.order, found.slots) == ("a-1", "a", 2)

    def test_even_with_lost_books_a_token_buys_once(self):
        provider = self.make()
        provider.launch(self.order(count=2))
        shutil.rmtree(Path(self.around.home, "ec2"))
        again = self.make()
        assert {m.id for m in again.launch(self.order(count=2)).machines} == {"a-1", "a-2"}
        assert len(self.cloud.living()) == 2

    def test_a_lost_answer_of_the_second_type_is_not_bought_again_as_the_first(self):
        """The first type is there again, and the listing is late: only the token keeps a second one away."""
        self.cloud.sold_out, self.cloud.all_late = {"c7i.large"}, True
        self.cloud.lose_sale = True
        provider = self.make()
        with pytest.raises(Lost):
            provider.launch(self.order())
        self.cloud.sold_out = set()
        placed = provider.launch(self.order())
        assert [m.id for m in placed.machines] == ["a-1"]
        assert len(self.cloud.living()) == 1

    def test_other_words_with_a_token_that_has_bought_find_what_it_bought(self):
        self.make().launch(self.order())
        shutil.rmtree(Path(self.around.home, "ec2"))
        changed = self.make(image="ami-00000000000000001")
        self.cloud.late = set(self.cloud.living())
        with pytest.raises(Lost, match="IdempotentParameterMismatch"):
            changed.launch(self.order())
        self.cloud.late = set()
        assert [m.id for m in changed.launch(self.order()).machines] == ["a-1"]
        assert len(self.cloud.living()) == 1

    def test_an_ended_machine_is_not_bought_again_even_with_lost_books(self):
        provider = self.make()
        provider.launch(self.order())
        provider.terminate(["a-1"])
        shutil.rmtree(Path(self.around.home, "ec2"))
        (again,) = self.make().launch(self.order()).machines
        assert (again.id, again.state) == ("a-1", MachineState.ENDED)
        assert self.cloud.living() == []

    # ── what else EC2 may say ──

    def test_throttles_are_waited_out_by_who_wraps_it(self):
        self.cloud.faults.extend([("RunInstances", "RequestLimitExceeded")] * 2)
        patient = metered(self.make(), "pool")
        assert len(patient.launch(self.order()).machines) == 1
        assert patient.counts == {("launch", "Throttled"): 2, ("launch", "fine"): 1}
        assert len(self.run_calls()) == 3  # boto3 itself tries nothing twice

    def test_what_a_person_must_see_to_is_not_tried_on(self):
        self.cloud.faults.append(("RunInstances", "UnauthorizedOperation"))
        with pytest.raises(Refused, match=r"UnauthorizedOperation.*docs/ec2\.md"):
            self.make().launch(self.order())
        assert len(self.run_calls()) == 1

    def test_without_an_address_for_others_nothing_is_bought(self):
        self.around = replace(self.around, invite=None)
        with pytest.raises(Refused, match="farm up --listen"):
            self.make().launch(self.order())
        assert self.run_calls() == []

    def test_a_setup_script_that_is_too_long_is_refused_before_anything_is_bought(self):
        invite = self.around.invite
        self.around = replace(self.around, invite=lambda e, s: replace(invite(e, s), setup="x" * 16384))
        with pytest.raises(Refused, match="too long for user data"):
            self.make().launch(self.order())
        assert self.run_calls() == []

    def test_a_cloud_that_is_not_there_may_be_there_later(self):
        with pytest.raises(Throttled, match="can't be asked"):
            self.make(endpoint_url="http://127.0.0.1:9").launch(self.order())

    def test_missing_credentials_are_told(self, monkeypatch: pytest.MonkeyPatch):
        for name in CREDENTIALS:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("HOME", "/nonexistent")
        with pytest.raises(
            Refused, match="Unable to locate credentials; look at the credentials that `farm up` was given"
        ):
            self.make().machines()
        with pytest.raises(Refused, match="nobody's"):
            self.make(profile="nobody's").machines()

    # ── listings that lag behind ──

    def test_who_was_bought_just_now_is_known_before_it_is_listed(self):
        self.cloud.all_late = True
        provider = self.make()
        provider.launch(self.order())
        assert [(m.id, m.state) for m in provider.machines()] == [("a-1", MachineState.BOOTING)]
        assert [m.id for m in self.make().machines()] == ["a-1"]
        with pytest.raises(Throttled, match="it will be known soon"):
            provider.terminate(["a-1"])
        assert [m.state for m in provider.machines()] == [MachineState.BOOTING]
        self.cloud.late.clear()
        provider.terminate(["a-1"])
        assert self.cloud.living() == []

    def test_who_is_never_listed_has_ended_after_a_while(self, monkeypatch: pytest.MonkeyPatch):
        self.cloud.all_late = True
        provider = self.make()
        provider.launch(self.order())
        monkeypatch.setattr(books, "UNSEEN", timedelta(0))
        (gone,) = provider.machines()
        assert (gone.state, gone.error) == (MachineState.ENDED, "EC2 does not know it any more")

    def test_the_dead_who_are_listed_again_stay_dead(self, monkeypatch: pytest.MonkeyPatch):
        provider = self.make()
        provider.launch(self.order())
        self.cloud.old_listing = self.cloud.listing(self.around.farm)
        provider.terminate(["a-1"])
        (dead,) = provider.machines()
        assert (dead.state, self.cloud.count("TerminateInstances")) == (MachineState.ENDED, 1)
        monkeypatch.setattr(books, "AGAIN", timedelta(0))
        assert provider.machines() == [dead]  # and are ended once more
        assert self.cloud.count("TerminateInstances") == 2

    def test_a_second_one_of_the_same_name_is_ended(self):
        provider = self.make()
        provider.launch(self.order())
        call = {k: v for k, v in self.run_calls()[0].items() if k.startswith(("TagS", "Im", "Inst", "M"))}
        self.cloud.act(**{**call, "Action": "RunInstances"})
        assert len(self.cloud.living()) == 2
        assert [m.id for m in provider.machines()] == ["a-1"]
        assert self.cloud.living() == [self.instance("a-1")]

    # ── ends ──

    def test_one_that_ends_itself_says_so(self):
        provider = self.make()
        (one,) = provider.launch(self.order()).machines
        self.cloud.power_off(self.instance("a-1"))
        (ended,) = provider.machines()
        assert (ended.state, ended.error) == (
            MachineState.ENDED,
            "Client.UserInitiatedShutdown: User initiated shutdown",
        )
        assert one.launched_at <= ended.ended_at

    def test_of_several_those_that_are_known_are_ended(self, monkeypatch: pytest.MonkeyPatch):
        provider = self.make()
        provider.launch(self.order(count=3))
        self.cloud.late = {self.instance("a-2")}
        monkeypatch.setattr(rental, "UNSEEN", timedelta(0))
        provider.terminate(["a-1", "a-2", "a-3"])
        assert [m.state for m in provider.machines()] == [MachineState.ENDED] * 3
        self.cloud.late.clear()
        assert len(self.cloud.living()) == 1  # EC2 had said that there is no such machine

    def test_other_farms_and_pools_are_left_alone(self):
        self.make().launch(self.order())
        self.around = replace(self.around, farm="other", home=f"{self.around.home}/other")
        other = self.make()
        assert other.machines() == []
        other.terminate(["a-1"])
        assert len(self.cloud.living()) == 1


class TestOptions:
    def test_it_is_found_by_name_and_says_how_its_executors_come(self):
        assert ec2.NETWORK == "outbound"
        assert "ec2" in tomllib.loads(Path("pyproject.toml").read_text())["project"]["entry-points"]["farm.providers"]

    def test_offers_have_the_price_of_their_type(self, around: Surroundings):
        options = {"region": "eu-central-1", "instance_types": ["a", "b"], "image": AMI, "price_per_hour": "0.1"}
        made = ec2.provider({**options, "prices": {"b": "0.2"}, "slots": 4}, around)
        assert [(o.key, o.slots, o.price_per_hour) for o in made.offers()] == [
            ("a/eu-central-1/on-demand", 4, Decimal("0.1")),
            ("b/eu-central-1/on-demand", 4, Decimal("0.2")),
        ]

    def test_the_image_may_be_the_pools(self, around: Surroundings):
        options = {"region": "r", "instance_types": ["a"]}
        assert ec2.provider(options, replace(around, image=AMI)).offers()
        with pytest.raises(Refused, match='needs an image, as in image = "ami-'):
            ec2.provider(options, around)

    def test_a_wrong_option_is_refused_with_the_right_one(self, around: Surroundings):
        with pytest.raises(Refused, match="no option instance_type, did you mean instance_types"):
            ec2.provider({"region": "r", "instance_type": "a", "instance_types": ["a"], "image": AMI}, around)
        with pytest.raises(Refused, match="region: Field required"):
            ec2.provider({"instance_types": ["a"], "image": AMI}, around)


@pytest.mark.parametrize(
    ("code", "status", "meant"),
    [
        ("InsufficientInstanceCapacity", 500, SoldOut),
        ("InsufficientFreeAddressesInSubnet", 400, SoldOut),
        ("Unsupported", 400, SoldOut),
        ("InstanceLimitExceeded", 400, SoldOut),
        ("RequestLimitExceeded", 503, Throttled),
        ("Throttling", 400, Throttled),
        ("SomethingNew", 503, Throttled),
        ("InternalError", 500, Lost),
        ("SomethingNew", 502, Lost),
        ("InvalidAMIID.NotFound", 400, Refused),
        ("AuthFailure", 401, Refused),
        ("SomethingNew", 400, Refused),
        ("IdempotentInstanceTerminated", 400, TokenTaken),
        ("InvalidInstanceID.NotFound", 400, Unknown),
    ],
)
def test_every_answer_has_its_remedy(code: str, status: int, meant: type[Exception]):
    from botocore.exceptions import ClientError

    error = ClientError({"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}, "x")
    assert type(remedy(error)) is meant
    assert f"EC2 says {code}: m" in str(remedy(error))


def test_an_error_of_our_own_is_none_of_theirs():
    with pytest.raises(ZeroDivisionError):
        remedy(ZeroDivisionError())
