"""What a user is told when a request can't be done."""


class Refusal(Exception):
    """Says what is wrong, where, and what to type next. `status` is the HTTP status."""

    status = 400

    def __init__(self, what: str, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.remedy = what, where, remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what}" + (f"; {self.remedy}" if self.remedy else "")


class NotFound(Refusal):
    status = 404


class Forbidden(Refusal):
    """Who asks is known, and may not."""

    status = 403


class Conflict(Refusal):
    status = 409


class Unavailable(Refusal):
    """Not the request is wrong, but the farm or what it stands on."""

    status = 503
