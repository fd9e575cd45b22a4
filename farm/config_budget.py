"""[budgets.NAME] of farm.toml: what work may cost in a day, a week, a month or ever."""

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from farm.clock import EPOCH
from farm.config_part import Misplaced, Part
from farm.opening import zone
from farm.wording import nearest
from schedules.windows import midnight

Period = Literal["day", "week", "month", "ever"]
_LONGEST: Mapping[Period, timedelta | None] = {
    "day": timedelta(days=1, hours=1),
    "week": timedelta(days=7),
    "month": timedelta(days=31),
    "ever": None,
}


class BudgetConfig(Part):
    """Of all work, or of one owner's, or of one lane's, or of one owner's in one lane."""

    amount: Annotated[Decimal, Field(ge=0, le=10**12)]
    owner: str = ""
    lane: str = ""
    period: Period = "month"
    zone: str = "UTC"

    @field_validator("zone")
    @classmethod
    def _is_one(cls, value: str) -> str:
        zone(value)
        return value

    def span(self, now: datetime) -> tuple[datetime, datetime | None]:
        """The period that goes on now, by the clocks of its zone; its end is that of no hour but of midnight."""
        if self.period == "ever":
            return EPOCH, None
        first, after = _days(self.period, now.astimezone(ZoneInfo(self.zone)).date())
        return midnight(self.zone, first).astimezone(UTC), midnight(self.zone, after).astimezone(UTC)


def _days(period: Period, today: date) -> tuple[date, date]:
    """Its first day, and the first one after it."""
    if period == "day":
        return today, today + timedelta(days=1)
    if period == "week":
        monday = today - timedelta(days=today.weekday())
        return monday, monday + timedelta(days=7)
    first = today.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


def check_budgets(
    budgets: Mapping[str, BudgetConfig], lanes: Collection[str], jobs_kept: timedelta | None = None
) -> None:
    """Raises Misplaced for a lane that there is not, and where nobody knows any more in which lane money was spent."""
    for name, budget in budgets.items():
        if budget.lane and budget.lane not in lanes:
            raise Misplaced(f"there is no lane {budget.lane!r}; {nearest(budget.lane, lanes)}", "budgets", name, "lane")
        longest = _LONGEST[budget.period]
        if budget.lane and jobs_kept is not None and (longest is None or jobs_kept < longest):
            what = "jobs are forgotten before the period is over, and with them in which lane they were"
            raise Misplaced(f"{what}; a shorter period, or a longer `jobs` below [keep]", "budgets", name, "period")
