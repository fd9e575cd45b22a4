"""Four answers to "cheap or quick?", each a few knobs. docs/simulate.md has their numbers on recorded days."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from schedules.model import Lane, Pool

S = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Preset:
    """What a lane's tasks may wait, and what their waiting is worth."""

    name: str
    says: str
    lanes: tuple[Lane, ...]
    value: float  # of a second of waiting, in machine-seconds: an idle executor stays boot · (1 + value) at most
    prompt: bool  # a task that is due relies on no slot that is only expected to be free
    ahead: float = 0.0  # for as many as came in this part of all boots empty executors are there before they come

    @property
    def boots_kept(self) -> float:
        return 1 + self.value

    def holds(self, pool: Pool) -> Pool:
        """The pool under this preset."""
        return replace(pool, boots_kept=self.boots_kept, learns=True, prompt=self.prompt, ahead=self.ahead)


@dataclass(frozen=True, slots=True)
class Knob:
    """One number of a preset, for people."""

    name: str
    unit: str
    default: str
    says: str


KNOBS = (
    Knob(
        "weight", "share", "interactive 4, default 2, bulk 1", "How much of a full farm a lane gets beside the others."
    ),
    Knob("alpha", "W ÷ length", "0.5", "A longer task may wait for longer: so much of its predicted length."),
    Knob("w_min", "seconds", "105", "So long any task may wait for one that ends soon before a machine is ordered."),
    Knob("w_max", "seconds", "900", "So long at most."),
    Knob(
        "value",
        "machine-s ÷ s",
        "0.25",
        "Worth of waiting: an idle machine stays boot · (1 + value) at most.",
    ),
    Knob("prompt", "yes or no", "no", "A task that is due waits for no machine that is only expected to be free."),
    Knob(
        "ahead",
        "part of boots",
        "0; base 0.8",
        "Empty machines are there for as many tasks as came in this part of all boots, in this hour of the week.",
    ),
)

INTERACTIVE = Lane("interactive", weight=4)
BULK = Lane("bulk", weight=1, alpha=1, w_min=300 * S, w_max=3600 * S)


def _lanes(alpha: float, w_min: int, w_max: int) -> tuple[Lane, ...]:
    return INTERACTIVE, Lane("default", 2, alpha, w_min * S, w_max * S), BULK


PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "thrifty",
            "Next to nothing is paid beside the work: tasks wait up to five minutes for a machine that is there.",
            _lanes(0.0, 300, 300),
            0.0,
            True,
        ),
        Preset(
            "default",
            "A task waits in proportion to its length, a minute and a half at least where that saves a machine.",
            _lanes(0.5, 105, 900),
            0.25,
            False,
        ),
        Preset("fast", "Nothing waits longer than a machine boots.", _lanes(0.0, 0, 0), 1.0, True),
        Preset(
            "base",
            "As fast, and in the hours of the week in which people come machines are there before they do.",
            _lanes(0.0, 0, 0),
            1.0,
            True,
            0.8,
        ),
    )
}
