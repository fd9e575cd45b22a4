"""What no pool can ever give is refused at submit, with the word that was meant or the pool that is nearest."""

import re

import pytest
from pydantic import ValidationError

from farm.capacity import check_needs, placed
from farm.cli.needs import needs
from farm.config import BadConfig, FarmConfig, load
from farm.model import StepSpec
from farm.refusal import Refusal
from farm.wording import plain

CONFIG = FarmConfig.model_validate(
    {
        "pools": {
            "plain": {"slots": 4, "max_slots": 4, "labels": {"arch": "amd64"}},
            "graphic": {"slots": 8, "max_slots": 8, "gpus": 2, "memory": "64G", "amounts": {"dongle": 1}},
        }
    }
)


def step(**more: object) -> StepSpec:
    return StepSpec.model_validate({"argv": ("true",), **more})


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"needs": {"gpu": 1}}, "no pool has 'gpu'.*did you mean 'gpus'"),
        ({"needs": {"cpus": 2}}, "no pool has 'cpus'.*did you mean 'cpu'"),
        ({"needs": {"fpga": 1}}, "no pool has 'fpga'.*there are dongle, gpus"),
        ({"needs": {"gpus": 3}}, "the nearest, graphic, lacks gpus: it has 2 of 3"),
        ({"needs": {"gpus": 1}, "cpu": 9}, "9 cpus"),
        ({"needs": {"gpus": 1}, "labels": ["arch=amd64"]}, "lacks (gpus: it has 0 of 1|label arch=amd64)"),
        ({"needs": {"gpus": 1}, "memory": 65 << 30}, "memory"),
        ({"labels": ["arhc=amd64"]}, "no pool has the label 'arhc'.*did you mean 'arch'"),
        ({"labels": ["arch=arm64"]}, "lacks label arch=arm64"),
        ({"needs": {"memory": 1}}, "memory is no amount"),
    ],
)
def test_what_can_never_be_is_refused(more: dict[str, object], what: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_needs(CONFIG, step(**more))
    error = refused.value
    assert re.search(what, f"{error.what} {error.remedy}", re.DOTALL), f"{error.what} {error.remedy}"


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"needs": {"gpus": 2, "dongle": 1}, "cpu": 8},
        {"labels": ["arch", "arch!=arm64", "!ssd"]},
        {"memory": 1 << 30},
    ],
)
def test_what_a_pool_can_give_is_taken(more: dict[str, object]) -> None:
    check_needs(CONFIG, step(**more))


def test_memory_is_used_up_where_a_pool_says_how_much_there_is() -> None:
    assert placed(CONFIG, step(memory=5)).needs == {"memory": 5}
    assert placed(FarmConfig(), step(memory=5)).needs == {}
    assert placed(CONFIG, step()).needs == {}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("gpus = -1", "gpus"),
        ("amounts = { '1x' = 1 }", "amounts"),
        ("amounts = { gpus = 2 }", "write gpus of the pool"),
        ("amounts = { memory = 8 }", "write memory of the pool"),
        ("amounts = { cpu = 8 }", "write slots of the pool"),
        ("labels = { a = 'b c' }", "labels"),
        ("gpu = 1", "gpus"),
    ],
)
def test_what_a_pool_can_not_offer_is_told_with_its_line(tmp_path, line: str, what: str) -> None:
    path = tmp_path / "farm.toml"
    path.write_text(f"[pools.local]\n{line}\n")
    with pytest.raises(BadConfig) as bad:
        load(path)
    assert what in f"{bad.value.what} {bad.value.remedy}"
    assert "line 2" in bad.value.where


def test_an_amount_of_farm_toml_may_be_called_nearly_as_something_known() -> None:
    config = FarmConfig.model_validate({"pools": {"p": {"amounts": {"gpu2": 1, "cpus": 2, "mem": 3}}}})
    wanted = needs("gpu2=1,cpus=2,mem=3")
    assert wanted == {"needs": {"gpu2": 1, "cpus": 2, "mem": 3}}
    check_needs(config, step(**wanted))


@pytest.mark.parametrize(
    ("more", "remedy"),
    [
        ({"labels": ["arch == arm64"]}, "write it like arch=arm64, arch!=arm64, ssd (has it) or !ssd (has it not)"),
        ({"needs": {"a b": 1}}, "write letters, digits, . _ and -, such as dongle"),
        ({"secrets": {"KEY": "keys"}}, "write file:/path/of/a/file or env:NAME"),
        ({"secrets": {"1KEY": "env:KEY"}}, "write letters, digits and _, such as MODEL_2"),
    ],
)
def test_what_is_of_no_right_form_is_told_without_a_pattern(more: dict[str, object], remedy: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        step(**more)
    what, said = plain(wrong.value.errors()[0], "it")
    assert what.endswith("is not of the right form")
    assert said == remedy
