"""`farm simulate`: what a recorded day would have cost, and how long its jobs would have waited."""

from typing import Annotated, Any

import typer

from farm.cli.options import HomeOption, JsonOption
from farm.cli.output import emit, say, table
from farm.cli.replayed import SECOND, Machines, day, lanes, micros, names, with_sold_out
from farm.durations import format_duration

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


def simulate(
    trace: Annotated[
        str | None, typer.Argument(metavar="TRACE.csv", help="Columns arrival,duration,name,source,cls.")
    ] = None,
    history: Annotated[
        str | None, typer.Option(metavar="30d", help="Instead of a trace what this farm did, with its own pools.")
    ] = None,
    preset: Annotated[
        str, typer.Option(metavar="NAME,…", help="thrifty, default, fast, base, or all; or a policy of your own.")
    ] = "default",
    against: Annotated[str, typer.Option(metavar="NAME,…", help="Other schedulers' rules beside it, or all.")] = "",
    bound: Annotated[
        str | None, typer.Option(metavar="300s", help="The least that any schedule costs where none waits longer.")
    ] = None,
    boot: Annotated[
        str | None, typer.Option(metavar="60s", help="From the order of a machine until it takes work; 60s.")
    ] = None,
    min_billing: Annotated[str | None, typer.Option(metavar="60s", help="What a machine costs at least; 60s.")] = None,
    ceiling: Annotated[int | None, typer.Option(min=1, max=1_000_000, help="Slots at most; 1000.")] = None,
    slots: Annotated[int | None, typer.Option(min=1, max=1024, help="Slots of a machine; a job takes one; 1.")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="An hour of a machine; 1.")] = None,
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
    reserve: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Slots that the bulk lane leaves to the others.")
    ] = 0,
    owners: Annotated[bool, typer.Option("--owners", help="Each source is an owner: they share a lane.")] = False,
    seed: Annotated[int, typer.Option(help="Decides spread and losses.")] = 0,
    plot: Annotated[
        str | None, typer.Option(metavar="OUT.html|OUT.png", help="Draw backlog, capacity, waits and cost.")
    ] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Replay a trace by the policy and the order of work that run the farm. `cost` is paid machine-seconds ÷ work.
    Durations are learned as the replay goes on, from nothing. The bound needs elastic-farm[simulate]."""
    from farm.policies import known as own_policies
    from farm.simulate.contest import Contest
    from farm.simulate.peers import PEERS
    from farm.simulate.picture.report import drawing
    from schedules.model import Reserve
    from schedules.presets import PRESETS

    said = Machines(boot, min_billing, ceiling, slots, price, boot_spread, spot_rate, pool or ())
    known = [*PRESETS, *own_policies()]
    presets, peers = names(preset, known, "--preset", [*PRESETS]), names(against, PEERS, "--against")
    wait = None if bound is None else micros(bound, "--bound") / SECOND
    draw = None if plot is None else drawing(plot)
    recorded = day(trace, history, home, said)
    contest = Contest(
        jobs=recorded.jobs,
        offers=with_sold_out(recorded.offers, sold_out or ()),
        lanes=lanes(lane or ()),
        seed=seed,
        owners=owners or history is not None,
        reserve=Reserve(reserve, 0.0, frozenset({"bulk"})),
        watched=draw is not None,
    )
    found = contest.run(presets, peers, wait, recorded.lived)
    if draw is not None:
        draw(found, contest.courses)
    if json:
        emit(found)
    else:
        _show(found)
    return 0


def _show(found: dict[str, Any]) -> None:
    say(f"{found['jobs']:,} jobs, {format_duration(found['work_seconds'])} of work")
    if found["bound_ratio_b1"] is not None:
        wait = format_duration(found["bound_wait_s"])
        say(f"no schedule in which all waits are {wait} at most costs less than {found['bound_ratio_b1']:.4f} × work")
    for policy in found["policies"]:
        if policy.get("trouble"):
            say(f"policy {policy['name']}: {policy['trouble']}")
    table(COLUMNS, [_row(policy) for policy in found["policies"]], numbers=COLUMNS[1:])


def _row(policy: dict[str, Any]) -> tuple[str, ...]:
    over, zero, took = policy["over_bound"], policy["zero_after_s"], policy["decision_ms_p99"]
    return (
        policy["name"],
        f"{policy['cost_ratio']:.4f}",
        f"{over:.4f}" if over is not None else "",
        *(format_duration(policy[name]) for name in ("wait_p50", "wait_p95", "wait_max")),
        f"{policy['launches']:,}",
        f"{policy['peak']:,}",
        format_duration(zero) if zero is not None else "never",
        f"{took:.1f} ms" if took is not None else "",
    )
