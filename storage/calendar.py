"""The periods that calendar windows and quotas follow, in UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Final

DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000
_EPOCH: Final = date(1970, 1, 1).toordinal()

Periods = tuple[int, int, int]
"""First days of the current day, week (from Monday) and month, as days since 1970."""


def periods_at(now: int) -> Periods:
    """The periods that hold `now` (milliseconds)."""
    return _periods_of(now // DAY_MS)


@lru_cache(maxsize=8)
def _periods_of(day: int) -> Periods:
    on = date.fromordinal(_EPOCH + day)
    return day, day - on.weekday(), day - (on.day - 1)


def until_tomorrow(now: int) -> int:
    """Milliseconds from `now` to the next midnight, when quotas begin anew."""
    return DAY_MS - now % DAY_MS


def start_of(day: int) -> datetime:
    """The first moment of a day given as days since 1970."""
    return datetime.fromtimestamp(day * 86_400, UTC)


def moment(milliseconds: int) -> datetime:
    """Milliseconds since the epoch as a time that drivers take."""
    seconds, rest = divmod(milliseconds, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=1000 * rest)


def milliseconds(at: datetime) -> int:
    """The inverse of `moment`."""
    return round(at.timestamp() * 1000)
