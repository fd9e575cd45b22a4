"""Back to zero, and what it cost."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from demo.fleet import Fleet
from demo.left import left
from demo.story import Story
from demo.user import User, until

PATIENCE_S = 60
REPORTED_S = 10
BEGINS_S = 2  # until what was ordered is launched, from when on it is paid for
PHASES = ("boot_s", "busy_s", "idle_s", "drain_s")
CENT = Decimal("0.01")


def bill(story: Story, user: User, out: Path, price: str = "0.05", fleet: Fleet | None = None) -> None:
    """`price` is what an executor costs an hour; `fleet` knows those that were told of already."""
    story.act("Back to zero, with the bill", "nothing is asked of the farm any more")
    _wait_for_zero(story, user, fleet or Fleet.now(story, user))
    cost, usage = user.json("report", "cost"), user.json("report", "usage")
    for name, report in (("cost", cost), ("usage", usage)):
        (out / f"{name}.json").write_text(json.dumps(report, indent=2) + "\n")
    for line in (("report", "cost"), ("report", "cost", "--by", "owner"), ("report", "usage")):
        story.types(user.line(*line))
        story.text(user.farm(*line))
    _claim_sums(story, user, cost, usage, price, "ready" if fleet else "ordered")


def gone(story: Story, user: User) -> None:
    story.types(user.line("down"))
    seen = user.processes()
    user.farm("down")
    story.claim("nothing is left running", until(lambda: not left(user.home, seen), 10), left(user.home, seen))


def _wait_for_zero(story: Story, user: User, fleet: Fleet) -> None:
    def empty() -> bool:
        fleet.look()
        return not user.executors()

    story.claim("no executor is left", until(empty, PATIENCE_S), user.executors())
    roles = {"executor", "raylet", "agent", "keeper", "task"}

    def rest() -> list[str]:
        return [f"{one['role']} {one['pid']} of {one['executor']}" for one in user.processes() if one["role"] in roles]

    story.claim("0 Ray nodes and none of their processes", until(lambda: not rest(), REPORTED_S), rest())


def _claim_sums(story: Story, user: User, cost: dict[str, Any], usage: dict[str, Any], price: str, since: str) -> None:
    """`since` when executors are paid for at the latest: elsewhere an order may wait before its launch."""
    executors = user.executors(every=True)
    life = sum((_seconds(one) for one in executors), Decimal(0))
    prices = {Decimal(one["price"]) for one in executors}
    rows, total = sum((Decimal(row["cost"]) for row in cost["rows"]), Decimal(0)), Decimal(cost["total"])
    phases = sum((Decimal(str(row[phase])) for row in usage["rows"] for phase in PHASES), Decimal(0))
    story.claim(f"the rows add up to the total, {total} {cost['currency']}", abs(rows - total) < CENT, rows)
    text = f"boot, busy, idle and drain add up to the {phases:.0f} s from launch to end of {len(executors)} executors"
    slack = max(Decimal(BEGINS_S * len(executors)), life / 100)
    least = sum((_seconds(one, since) for one in executors if one[since]), Decimal(0))
    story.claim(text, least - slack <= phases <= life + slack, (least, phases, life))
    paid = phases * Decimal(price) / 3600
    holds = prices == {Decimal(price)} and abs(paid - total) < CENT / 100
    story.claim(f"the total is those seconds at {price} {cost['currency']} an hour", holds, (paid, prices))
    always = Decimal(cost["always_on"])
    story.claim(f"always on it would have been {always} {cost['currency']}", always >= total, (always, total))


def _seconds(executor: dict[str, Any], since: str = "ordered") -> Decimal:
    begin, end = (datetime.fromisoformat(executor[name]) for name in (since, "gone"))
    return Decimal(str((end - begin).total_seconds()))
