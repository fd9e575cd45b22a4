"""`--licence NAME[=N]` as people type it, and [licences] of farm.toml."""

import pytest
from pydantic import ValidationError

from farm.cli import values
from farm.config import FarmConfig
from farm.refusal import Refusal
from schedules.model import Licence


def test_names_and_numbers() -> None:
    assert values.licences(["maya", "nuke=2", "maya"]) == {"maya": 2, "nuke": 2}
    assert values.licences([]) == {}


@pytest.mark.parametrize("text", ["", "=2", "maya=0", "maya=x", "maya=-1"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="is no licence"):
        values.licences([text])


def test_settings() -> None:
    config = FarmConfig.model_validate({"licences": {"maya": {"count": 3}, "nuke": {"count": 1, "per": "host"}}})
    assert config.all_licences() == {"maya": Licence(3), "nuke": Licence(1, "host")}
    for wrong in ({"count": -1}, {}, {"count": 1, "per": "moon"}):
        with pytest.raises(ValidationError):
            FarmConfig.model_validate({"licences": {"maya": wrong}})
