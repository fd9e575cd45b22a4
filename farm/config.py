"""farm.toml: pools, lanes, schedules. Every key is known; without the file the defaults hold."""

import os
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from farm.config_budget import BudgetConfig, check_budgets
from farm.config_part import Misplaced, Part, duration
from farm.config_reserve import ReserveConfig
from farm.config_windows import OF_A_POOL, WindowConfig, check_windows
from farm.database_url import DatabaseConfig
from farm.lines import line_of
from farm.model import BIG, Named
from farm.policies import known_policy
from farm.refusal import Unavailable
from farm.sizes import memory_here, parse_size
from farm.wording import nearest, plain
from schedules.model import Lane, Licence, Pool, Window
from schedules.presets import PRESETS

LEAST_LEASE = timedelta(seconds=3)  # a gateway that has nothing to tell speaks every two


class BadConfig(Unavailable):
    """farm.toml is wrong; `where` names its line."""


def cores() -> int:
    return len(os.sched_getaffinity(0))


def _size(value: Any) -> Any:
    return parse_size(value) if isinstance(value, str) else value


class PoolConfig(Part):
    """A source of like executors. `options` belong to the provider, which checks them itself."""

    provider: str = "local"
    slots: Annotated[int, Field(ge=1)] = 1
    max_slots: Annotated[int, Field(ge=1)] | None = None
    floor: Annotated[int, Field(ge=0)] = 0
    idle_target: Annotated[int, Field(ge=0)] = 0
    ceiling: Annotated[int, Field(ge=0)] | None = None
    price_per_hour: Annotated[Decimal, Field(ge=0)] = Decimal(0)
    idle: timedelta | None = None
    boot: timedelta = timedelta(seconds=2)
    min_bill: timedelta = timedelta()
    memory: Annotated[int, Field(ge=1)] | None = None  # bytes of each executor; without it those of this machine
    gpus: Annotated[int, Field(ge=0, le=1024)] = 0  # devices of each of its executors
    amounts: Mapping[Named, Annotated[int, Field(ge=1, le=BIG)]] = {}  # of whatever else each has: docs/needs.md
    labels: Mapping[Named, Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+:-]{0,100}$")]] = {}
    network: Literal["local", "outbound"] | None = (
        None  # how its executors are reached; without it as its provider says
    )
    image: str = ""  # what its machines are made from, in the words of its provider
    setup: str = ""  # run once on each executor before its first work: a script, or the path of one
    options: Mapping[str, Any] = {}

    _parse = field_validator("idle", "boot", "min_bill", mode="before")(duration)
    _parse_memory = field_validator("memory", mode="before")(_size)

    @field_validator("amounts")
    @classmethod
    def _are_nothing_else(cls, value: Mapping[str, int]) -> Mapping[str, int]:
        for name, key in {"cpu": "slots", "gpus": "gpus", "memory": "memory"}.items():
            if name in value:
                raise ValueError(f"{name} is none of the other amounts; write {key} of the pool")
        return value

    @model_validator(mode="after")
    def _floor_fits(self) -> Self:
        if self.floor * self.slots > self.ceiling_slots:
            raise ValueError(f"a floor of {self.floor} executors is above the ceiling of {self.ceiling_slots} slots")
        return self

    @property
    def ceiling_slots(self) -> int:
        return cores() if self.ceiling is None else self.ceiling

    @property
    def largest(self) -> int:
        return self.max_slots or max(self.slots, self.ceiling_slots)


class LaneConfig(Part):
    weight: Annotated[float, Field(gt=0)] = 1.0
    alpha: Annotated[float, Field(ge=0)] = 0.0
    w_min: timedelta = timedelta()
    w_max: timedelta = timedelta()

    _parse = field_validator("w_min", "w_max", mode="before")(duration)


class OwnerConfig(Part):
    """Somebody's share of a lane, beside the others who have work in it; 1 for those who stand nowhere."""

    weight: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] = 1.0


class LicenceConfig(Part):
    """How many there are of it, held by each task or by each host for all its tasks."""

    count: Annotated[int, Field(ge=0, le=2**31)]
    per: Literal["task", "host"] = "task"


class KeepConfig(Part):
    """How long things are kept that grow with time; the bill is kept for ever, and so are jobs unless it is said."""

    jobs: Annotated[timedelta, Field(gt=timedelta())] | None = None  # and all of their tasks, after they ended

    logs: Annotated[timedelta, Field(gt=timedelta())] = timedelta(days=30)
    decisions: Annotated[timedelta, Field(gt=timedelta())] = timedelta(days=90)
    refused: Annotated[timedelta, Field(gt=timedelta())] = timedelta(days=90)
    durations: Annotated[timedelta, Field(gt=timedelta())] = timedelta(days=400)

    _parse = field_validator("jobs", "logs", "decisions", "refused", "durations", mode="before")(duration)


class SiteConfig(Part):
    engine: Literal["ray", "plain"] = "ray"
    lease: timedelta = timedelta(seconds=60)
    outbound_lease: timedelta = timedelta(minutes=10)

    _parse = field_validator("lease", "outbound_lease", mode="before")(duration)

    @field_validator("lease", "outbound_lease")
    @classmethod
    def _outlasts_silence(cls, value: timedelta) -> timedelta:
        if value < LEAST_LEASE:
            what = f"healthy executors are silent for longer than {value.total_seconds():g} s"
            raise ValueError(f"{what}; write {LEAST_LEASE.seconds}s or more")
        return value


class ListenConfig(Part):
    """Where others reach this farm. Off loopback it speaks TLS only."""

    address: str | None = None  # HOST:PORT to listen at
    url: str | None = None  # how others reach it, where that is not https://HOST:PORT
    certificate: str | None = None  # files in PEM, instead of the farm's own authority
    key: str | None = None
    ca: str | None = None  # what others have to trust, where the certificate given is not one that everybody trusts

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.key and not self.certificate:
            raise Misplaced("there is a key without its certificate; add certificate", "key")
        if self.url and not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#\s]*)?", self.url):
            raise Misplaced(f"{self.url[:100]!r} is no URL; write it like https://farm.example.org:8443", "url")
        return self


class ApiConfig(Part):
    largest_upload: Annotated[int, Field(ge=1, le=2**62)] = 64 << 30  # bytes of one file

    _parse = field_validator("largest_upload", mode="before")(_size)


class FarmConfig(Part):
    """All of farm.toml."""

    currency: str = "EUR"
    policy: Annotated[str, AfterValidator(known_policy)] | None = None  # a preset, or somebody's own: farm/policies.py
    site: SiteConfig = SiteConfig()
    listen: ListenConfig = ListenConfig()
    api: ApiConfig = ApiConfig()
    database: DatabaseConfig = DatabaseConfig()
    pools: Mapping[str, PoolConfig] = {"local": PoolConfig()}
    lanes: Mapping[str, LaneConfig] = {}
    owners: Mapping[str, OwnerConfig] = {}
    licences: Mapping[str, LicenceConfig] = {}
    reserve: ReserveConfig = ReserveConfig()
    budgets: Mapping[Named, BudgetConfig] = {}
    keep: KeepConfig = KeepConfig()
    schedules: tuple[WindowConfig, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_windows(self.schedules, {n: (p.slots, p.ceiling_slots) for n, p in self.pools.items()}, self.all_lanes())
        self.reserve.check(self.all_lanes())
        check_budgets(self.budgets, self.all_lanes(), self.keep.jobs)
        return self

    @property
    def most_memory(self) -> int:
        """Bytes of the largest executor of any pool."""
        return max((pool.memory or memory_here() for pool in self.pools.values()), default=memory_here())

    def windows(self) -> tuple[Window, ...]:
        return tuple(w.window() for w in self.schedules)

    def owner_weights(self) -> dict[str, float]:
        return {name: owner.weight for name, owner in self.owners.items()}

    def all_licences(self) -> dict[str, Licence]:
        return {name: Licence(one.count, one.per) for name, one in self.licences.items()}

    def all_lanes(self) -> dict[str, Lane]:
        """The three of every farm, and the configured ones."""
        wait = {name: Lane(name, c.weight, c.alpha, c.w_min, c.w_max) for name, c in self.lanes.items()}
        preset = PRESETS.get(self.policy or "")
        usual = preset.lanes if preset else DEFAULT_LANES
        return {lane.name: lane for lane in usual} | wait

    def under_policy(self, pool: Pool) -> Pool:
        """The pool as the preset has it, if there is one."""
        preset = PRESETS.get(self.policy or "")
        return preset.holds(pool) if preset else pool


DEFAULT_LANES = (
    Lane("interactive", weight=4),
    Lane("default", weight=2, alpha=0.5, w_max=timedelta(seconds=900)),
    Lane("bulk", weight=1, alpha=1, w_min=timedelta(seconds=300), w_max=timedelta(seconds=3600)),
)


def load(path: Path) -> FarmConfig:
    """Raises BadConfig naming the key, its line and the nearest right one."""
    try:
        text = path.read_text()
        return FarmConfig.model_validate(tomllib.loads(text), context={"folder": path.parent})
    except FileNotFoundError:
        return FarmConfig()
    except OSError as error:
        raise BadConfig(f"the settings can't be read: {error.strerror}", str(path), "check its permissions") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BadConfig("the settings are not UTF-8", f"{path} line {line}", "save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise _no_toml(error, path, text) from error
    except ValidationError as error:
        raise _explained(error, path, text) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a thousand brackets
        raise BadConfig("this is no TOML that can be used", str(path), str(error)[:200]) from error


def _no_toml(error: tomllib.TOMLDecodeError, path: Path, text: str) -> BadConfig:
    said = str(error)
    at = re.search(r" \(at (?:line (\d+)[^)]*|end of document)\)$", said)
    place = f"{path} line {at[1] if at and at[1] else len(text.splitlines())}"
    what = said[: at.start()] if at else said
    return BadConfig(f"this is no TOML: {what[:1].lower()}{what[1:]}", place, 'texts stand in quotes, as in name = "x"')


def _explained(error: ValidationError, path: Path, text: str) -> BadConfig:
    """The first finding, with its line and, for an unknown key, the nearest right one."""
    found = error.errors()[0]
    keys = found["loc"]
    raised = (found.get("ctx") or {}).get("error")
    if isinstance(raised, Misplaced):
        keys = (*keys, *raised.place)
    line = line_of(text, keys)
    where = f"{path} line {line}" if line else str(path)
    name = ".".join(str(key) for key in keys if isinstance(key, str))
    if found["type"] == "extra_forbidden":
        return BadConfig(f"unknown key {name!r}", where, _known_instead(keys))
    if keys == ("schedules",):
        return BadConfig("schedules is a list of windows", where, "begin each with [[schedules]], in two brackets")
    what, remedy = plain(found, str(keys[-1]) if keys else "it")
    return BadConfig(f"{name}: {what}" if name and raised is None else what, where, remedy or "edit it")


def _known_instead(keys: tuple[Any, ...]) -> str:
    if keys[0] == "schedules" and len(keys) == 3 and keys[2] in OF_A_POOL:
        return f"{keys[2]} is said of a pool: write it below [schedules.pools.NAME]"
    return nearest(str(keys[-1]), _known(FarmConfig, keys[:-1]))


def refused_pool(path: Path, name: str, refused: Exception) -> BadConfig:
    """What the provider of a pool says against its name, or against its options, with the line of the key."""
    place: tuple[str | int, ...] = ("pools", name, "provider")
    what, _, near = str(refused).partition(", did you mean ")
    remedy = f"did you mean {near}" if near else "see docs/settings.md"
    if isinstance(refused.__cause__, ValidationError):
        found = refused.__cause__.errors()[0]
        place = ("pools", name, "options", *found["loc"])
        if found["type"] != "extra_forbidden":
            said, remedy = plain(found, str(place[-1]))
            what = f"{place[-1]}: {said}"
    line = line_of(path.read_text() if path.exists() else "", place)
    return BadConfig(f"pool {name!r}: {what}", f"{path} line {line}" if line else str(path), remedy)


def no_address(path: Path, pool: str) -> BadConfig:
    """An executor elsewhere must be told where its farm is."""
    what = f"the executors of pool {pool!r} are elsewhere, and this farm has no address for them"
    return _at_pool(
        path, pool, "network", what, "start it with `farm up --listen HOST:PORT`, or say address below [listen]"
    )


def no_setup(path: Path, pool: str, said: str, error: Exception) -> BadConfig:
    why = getattr(error, "strerror", None) or str(error)
    what = f"pool {pool!r}: the setup script {said[:200]!r} can't be read: {why}"
    return _at_pool(path, pool, "setup", what, "name a file below the home, or write the script itself")


def _at_pool(path: Path, pool: str, key: str, what: str, remedy: str) -> BadConfig:
    text = path.read_text() if path.exists() else ""
    line = line_of(text, ("pools", pool, key)) or line_of(text, ("pools", pool))
    return BadConfig(what, f"{path} line {line}" if line else str(path), remedy)


def _known(model: Any, path: tuple[Any, ...]) -> list[str]:
    """The keys that are allowed at `path` below `model`."""
    for key in path:
        if isinstance(model, type) and issubclass(model, BaseModel) and key in model.model_fields:
            model = model.model_fields[key].annotation
        model = next((m for m in _models(model)), model)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for a in getattr(annotation, "__args__", ()) for m in _models(a)]
