"""What tasks need and executors offer, as the database holds it: one text for all that are alike."""

import json
from functools import lru_cache
from typing import Any, NamedTuple

from farm.model import StepSpec
from schedules.needs import PLAIN, Amounts, Needs, Offer

GPUS = "gpus"


class Held(NamedTuple):
    """What an executor has; `gpus` are the numbers of its devices."""

    offer: Offer = PLAIN
    gpus: tuple[int, ...] = ()


NOTHING = Held()


def text_of(step: StepSpec) -> str:
    """The same for steps that need the same; "" for slots alone."""
    if not step.needs and not step.labels:
        return ""
    amounts, labels = dict(sorted(step.needs.items())), sorted(set(step.labels))
    return _text({"slots": step.cpu, "amounts": amounts, "labels": labels})


@lru_cache(maxsize=4096)
def needs_of(text: str) -> Needs:
    found = json.loads(text)
    return Needs(found["slots"], _pairs(found["amounts"]), tuple(found["labels"]))


def offer_text(offer: Offer, gpus: tuple[int, ...] = ()) -> str:
    if not offer.amounts and not offer.labels:
        return ""
    return _text({"amounts": dict(offer.amounts), "labels": dict(offer.labels), "gpus": list(gpus)})


@lru_cache(maxsize=4096)
def held_of(text: str) -> Held:
    if not text:
        return NOTHING
    found = json.loads(text)
    return Held(Offer(_pairs(found["amounts"]), tuple(sorted(found["labels"].items()))), tuple(found["gpus"]))


def given_text(amounts: Amounts, gpus: list[int]) -> str:
    """What an attempt has for as long as it runs."""
    return _text({"amounts": dict(amounts), "gpus": gpus})


def given(text: str, gpus: list[int]) -> tuple[str, dict[str, str]]:
    """What the books say that an attempt with these needs has, and what it is told of it. Its devices leave `gpus`."""
    needs = needs_of(text)
    n = dict(needs.amounts).get(GPUS, 0)
    mine = gpus[:n]
    del gpus[:n]
    told = ",".join(map(str, mine))
    return given_text(needs.amounts, mine), {"FARM_GPUS": told, "CUDA_VISIBLE_DEVICES": told} if n else {}


@lru_cache(maxsize=4096)
def given_of(text: str) -> tuple[Amounts, tuple[int, ...]]:
    found = json.loads(text)
    return _pairs(found["amounts"]), tuple(found["gpus"])


def _pairs(found: dict[str, int]) -> Amounts:
    return tuple(sorted(found.items()))


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))
