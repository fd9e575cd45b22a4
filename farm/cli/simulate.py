"""`farm simulate`: what a recorded day would have cost, and how long its jobs would have waited."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from farm.cli.options import JsonOption
from farm.cli.output import emit, say, table
from farm.durations import BadDuration, format_duration, parse_duration
from farm.refusal import Refusal
from farm.wording import nearest

if TYPE_CHECKING:
    from farm.simulate.pools import Offer

COLUMNS = (
    "policy",
    "cost",
    "over bound",
    "wait p50",
    "p95",
    "longest",
    "launches",
    "peak",
    "zero after",
    "decision p99",
)
SECOND = 1_000_000


def simulate(
    trace: Annotated[str, typer.Argument(metavar="TRACE.csv", help="Columns arrival,duration,name,source,cls.")],
    preset: Annotated[str, typer.Option(metavar="NAME,…", help="thrifty, default, fast, or all.")] = "default",
    against: Annotated[str, typer.Option(metavar="NAME,…", help="Other schedulers' rules beside it, or all.")] = "",
    bound: Annotated[
        str | None, typer.Option(metavar="300s", help="The least that any schedule costs where none waits longer.")
    ] = None,
    boot: Annotated[str, typer.Option(metavar="60s", help="From the order of a machine until it takes work.")] = "60s",
    min_billing: Annotated[str, typer.Option(metavar="60s", help="What a machine costs at least.")] = "60s",
    ceiling: Annotated[int, typer.Option(min=1, max=1_000_000, help="Slots at most.")] = 1000,
    slots: Annotated[int, typer.Option(min=1, max=1024, help="Slots of a machine; a job takes one.")] = 1,
    price: Annotated[float, typer.Option(min=0, help="An hour of a machine.")] = 1.0,
    pool: Annotated[
        list[str] | None, typer.Option(metavar="NAME:PRICE", help="Several pools instead of one; repeat it.")
    ] = None,
    boot_spread: Annotated[
        float, typer.Option(min=0, max=3, help="Log-normal boots of this σ, whose mean is --boot.")
    ] = 0.0,
    sold_out: Annotated[
        list[str] | None, typer.Option(metavar="POOL:1h-3h", help="A pool has no machines; since the first arrival.")
    ] = None,
    spot_rate: Annotated[float, typer.Option(min=0, max=1000, help="How often an hour a machine is taken away.")] = 0.0,
    lane: Annotated[
        list[str] | None, typer.Option(metavar="SOURCE=LANE", help="The lane of a source or class; repeat it.")
    ] = None,
    owners: Annotated[bool, typer.Option("--owners", help="Each source is an owner: they share a lane.")] = False,
    seed: Annotated[int, typer.Option(help="Decides spread and losses.")] = 0,
    json: JsonOption = False,
) -> int:
    """Replay a trace by the policy and the order of work that run the farm. `cost` is paid machine-seconds ÷ work.
    Durations are learned as the replay goes on, from nothing. The bound needs elastic-farm[simulate]."""
    from farm.simulate.contest import Contest
    from farm.simulate.peers import PEERS
    from farm.simulate.pools import Offer
    from farm.simulate.trace import read
    from schedules.presets import PRESETS

    if slots > ceiling:
        raise Refusal(f"a machine of {slots} slots is above the ceiling of {ceiling}", "--ceiling", "raise it")
    boots, least = _micros(boot, "--boot"), _micros(min_billing, "--min-billing")
    usual = Offer("pool", boots, least, ceiling, slots, price, boot_spread, spot_rate)
    presets, peers = _names(preset, PRESETS, "--preset"), _names(against, PEERS, "--against")
    wait = None if bound is None else _micros(bound, "--bound") / SECOND
    contest = Contest(read(Path(trace)), _offers(usual, pool or (), sold_out or ()), _lanes(lane or ()), seed, owners)
    found = contest.run(presets, peers, wait)
    if json:
        emit(found)
    else:
        _show(found)
    return 0


def _micros(text: str, where: str) -> int:
    try:
        return round(parse_duration(text).total_seconds() * SECOND)
    except BadDuration as error:
        raise Refusal(str(error).partition(";")[0], where, "write 90s, 10m or 1h30m") from error


def _names(text: str, known: Any, where: str) -> list[str]:
    if text == "all":
        return [*known]
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise Refusal(f"there is no {name[:40]!r}", where, nearest(name, known))
    return names


def _offers(usual: "Offer", pools: Sequence[str], sold_out: Sequence[str]) -> list["Offer"]:
    from dataclasses import replace

    made = {usual.name: usual}
    if pools:
        made = {}
        for text in pools:
            name, _, price = text.partition(":")
            made[name] = replace(usual, name=name, price=_price(price, text))
    for text in sold_out:
        name, _, span = text.partition(":")
        if name not in made:
            raise Refusal(f"there is no pool {name[:40]!r}", "--sold-out", nearest(name, made))
        start, dash, end = span.partition("-")
        if not dash:
            raise Refusal(f"{text[:40]!r} is no span", "--sold-out", "write pool:1h-3h")
        gone = (_micros(start, "--sold-out"), _micros(end, "--sold-out"))
        made[name] = replace(made[name], sold_out=(*made[name].sold_out, gone))
    return [*made.values()]


def _price(text: str, whole: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e9:
        raise Refusal(f"{whole[:40]!r} is no pool with its price", "--pool", "write cloud:0.50")
    return found


def _lanes(texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        source, _, lane = text.rpartition("=")
        if not source or lane not in ("interactive", "default", "bulk"):
            raise Refusal(f"{text[:40]!r} names no lane", "--lane", "write human=interactive, or bot=bulk")
        found[source] = lane
    return found


def _show(found: dict[str, Any]) -> None:
    say(f"{found['jobs']:,} jobs, {format_duration(found['work_seconds'])} of work")
    if found["bound_ratio_b1"] is not None:
        wait = format_duration(found["bound_wait_s"])
        say(f"no schedule in which all waits are {wait} at most costs less than {found['bound_ratio_b1']:.4f} × work")
    table(COLUMNS, [_row(policy) for policy in found["policies"]], numbers=COLUMNS[1:])


def _row(policy: dict[str, Any]) -> tuple[str, ...]:
    over, zero = policy["over_bound"], policy["zero_after_s"]
    return (
        policy["name"],
        f"{policy['cost_ratio']:.4f}",
        f"{over:.4f}" if over is not None else "",
        *(format_duration(policy[name]) for name in ("wait_p50", "wait_p95", "wait_max")),
        f"{policy['launches']:,}",
        f"{policy['peak']:,}",
        format_duration(zero) if zero is not None else "never",
        f"{policy['decision_ms_p99']:.1f} ms",
    )
