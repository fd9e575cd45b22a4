"""What answers say of money."""

from farm.api.shape import Shape


class BudgetNow(Shape):
    """Of the period that goes on; an empty owner or lane is all of them."""

    name: str
    owner: str
    lane: str
    amount: str
    spent: str
    bound: str
    until: str | None
