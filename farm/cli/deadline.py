"""When something should be done, as people write it."""

from datetime import datetime, time, timedelta

from farm.clock import SystemClock
from farm.durations import BadDuration, parse_duration
from farm.refusal import Refusal

FORMS = "write 18:00, '2026-03-01 18:00', +2h, or none"


def deadline(text: str, now: datetime | None = None, option: str = "--deadline") -> str:
    """ISO 8601 with a zone, or "" for none. Times without a zone are of this machine's. Raises Refusal."""
    given, now = text.strip(), now or SystemClock().now().astimezone()
    if given.lower() == "none":
        return ""
    try:
        return _moment(given, now).isoformat()
    except BadDuration as error:
        raise Refusal(str(error).partition(";")[0], option, FORMS) from error
    except (ValueError, OverflowError) as error:
        raise Refusal(f"{text[:40]!r} is no time", option, FORMS) from error


def _moment(given: str, now: datetime) -> datetime:
    if given.startswith("+"):
        return now + parse_duration(given[1:])
    if len(given) <= 5 and ":" in given:
        today = datetime.combine(now.date(), time.fromisoformat(given.zfill(5))).astimezone(now.tzinfo)
        return today if today > now else today + timedelta(days=1)
    found = datetime.fromisoformat(given)
    return found if found.tzinfo else found.astimezone()
