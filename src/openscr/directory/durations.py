"""ISO 8601 durations of fixed length: how contracts write how long to wait and how long to remember.

Spec: 40 §6.1, §6.2.
"""

import re
from typing import Final

LONGEST: Final = 3_155_760_000
"""Seconds of a duration: a hundred years."""

_DURATION = re.compile(
    r"P(?=.)(?:(?P<W>[0-9]{1,9})W|(?:(?P<D>[0-9]{1,9})D)?"
    r"(?:T(?=.)(?:(?P<H>[0-9]{1,9})H)?(?:(?P<M>[0-9]{1,9})M)?(?:(?P<S>[0-9]{1,9}(?:\.[0-9]{1,6})?)S)?)?)\Z",
    re.ASCII,
)
_SECONDS = {"W": 604_800, "D": 86_400, "H": 3_600, "M": 60, "S": 1}


def read_duration(text: str) -> float:
    """Return the seconds of an ISO 8601 duration such as ``PT1M``.

    Years and months are refused, for they have no fixed length; so is what ends in no date. Raises: `ValueError`.
    Spec: 40 §6.1.
    """
    match = _DURATION.match(text)
    if match is None:
        raise ValueError("a duration is written as ISO 8601 of days, hours, minutes and seconds, for example PT1M")
    seconds = sum(float(amount) * _SECONDS[unit] for unit, amount in match.groupdict().items() if amount)
    if seconds > LONGEST:
        raise ValueError("a duration is at most a hundred years")
    return seconds


def write_duration(seconds: float) -> str:
    """Write seconds (not negative, to the microsecond) as an ISO 8601 duration; `read_duration` gives them back.

    Spec: 40 §6.1.
    """
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    days, rest = divmod(whole, _SECONDS["D"])
    hours, rest = divmod(rest, _SECONDS["H"])
    minutes, rest = divmod(rest, _SECONDS["M"])
    parts = [f"{hours}H" if hours else "", f"{minutes}M" if minutes else ""]
    if rest or micros:
        parts.append(f"{rest}.{micros:06}".rstrip("0") + "S" if micros else f"{rest}S")
    time = "".join(parts)
    if not days and not time:
        return "PT0S"
    return "P" + (f"{days}D" if days else "") + (f"T{time}" if time else "")
