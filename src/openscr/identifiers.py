"""The identifiers of the field: NHS numbers, UUIDs, slots, and how they are read and compared.

Spec: 40 §1, §8; 10 §6; 90 §6.4.
"""

import ipaddress
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from math import floor
from typing import Final
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

SLOTS: Final = 4096
"""Number of slots that patients are spread over (``engine.md``)."""

LONDON: Final = ZoneInfo("Europe/London")

_TEN_DIGITS = re.compile(r"[0-9]{10}\Z")
_HL7_TIME = re.compile(r"[0-9]{4}(?:[0-9]{2}){0,5}(?:\.[0-9]+)?(?:[+-][0-9]{2,4})?\Z")
UUID_PATTERN: Final = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\Z"
"""The shape of a UUID, from its first character to its last."""
_UUID = re.compile(UUID_PATTERN)

Clock = Callable[[], datetime]
"""Gives the present instant, in UTC."""

UuidFactory = Callable[[], str]
"""Gives a fresh upper-case UUID."""


def utc_now() -> datetime:
    """Return the present instant in UTC: the clock of everything that runs for real."""
    return datetime.now(UTC)


USER_ID: Final = re.compile(r"[0-9]{12}")
"""SDS user id. Spec: 35 §1."""
ROLE_PROFILE_ID: Final = re.compile(r"[0-9]{1,20}")
"""Role profile id as providers send it: 12 digits in practice. Spec: 35 §1, §4.4."""
JOB_ROLE: Final = re.compile(r"[A-Z][0-9]{4}(?::[A-Z][0-9]{4}){0,2}")
"""Job role code, alone or behind staff group and sub-group. Spec: 35 §1."""
ACTIVITY: Final = re.compile(r"B[0-9]{4}")
"""Activity code. Spec: 35 §5."""
ODS_CODE: Final = re.compile(r"[A-Za-z0-9]{1,12}")
"""Organisation code. Spec: 35 §1."""


def mint_uuid() -> str:
    """Return a fresh random UUID as the protocol wants it: upper case, 36 characters. Spec: 40 §1."""
    # A version 4 UUID of the system's randomness; `uuid.uuid4` makes an object that nobody here needs.
    digits = os.urandom(16).hex().upper()
    variant = "89AB"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def minting_from(message_id: str) -> UuidFactory:
    """Return a factory that gives the same ids, in the same order, for one message id, which is a UUID.

    So a message that is made once more is the same message. Spec: 40 §6.3.
    """
    numbers = count(1)
    return lambda: str(uuid5(UUID(message_id), str(next(numbers)))).upper()


def is_uuid(text: str) -> bool:
    """Whether ``text`` has the shape of a UUID, in either letter case."""
    return _UUID.match(text) is not None


def check_digit(nine_digits: str) -> int:
    """Return the modulus-11 check digit of the first nine digits of an NHS number; 10 means that none exists."""
    total = sum(int(digit) * (10 - position) for position, digit in enumerate(nine_digits))
    return (11 - total % 11) % 11


def is_nhs_number(text: str) -> bool:
    """Whether ``text`` is ten digits whose last one is the modulus-11 check digit. Spec: 10 §6."""
    return _TEN_DIGITS.match(text) is not None and check_digit(text[:9]) == int(text[9])


def has_ten_digits(text: str) -> bool:
    """Whether ``text`` is exactly ten ASCII digits, whatever its check digit."""
    return _TEN_DIGITS.match(text) is not None


def addressed_number(numbers: list[str]) -> str | None:
    """Return the number under which a message is kept: the only one that it names, when it has ten digits.

    Whether the digits are an NHS number does not matter for that. Spec: 40 §8.
    """
    return numbers[0] if len(numbers) == 1 and has_ten_digits(numbers[0]) else None


def is_loopback(host: str) -> bool:
    """Whether a host name or IP address means this machine alone; any name but ``localhost`` may lead elsewhere."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def slot_of(key: str) -> int:
    """Return the slot that ``key`` belongs to.

    ``key`` is the ten digits of the NHS number, whether or not they pass modulus 11; a message that yields no
    ten-digit number takes its From party key instead. Spec: 40 §8.
    """
    return int.from_bytes(blake2b(key.encode("utf-8")).digest()[:2], "big") % SLOTS


def hl7_timestamp(instant: datetime) -> str:
    """Write an instant as HL7 does, ``YYYYMMDDhhmmss`` in UK local time. Spec: 00 §7, 40 §1."""
    return _hl7_second(floor(instant.timestamp()))


def ebxml_timestamp(instant: datetime) -> str:
    """Write an instant as ebXML does, ``YYYY-MM-DDThh:mm:ssZ`` in UTC, whole seconds. Spec: 40 §1."""
    return _ebxml_second(floor(instant.timestamp()))


# Hundreds of messages are written in one second, and all of them say the same time.
@lru_cache(maxsize=64)
def _hl7_second(second: int) -> str:
    return datetime.fromtimestamp(second, LONDON).strftime("%Y%m%d%H%M%S")


@lru_cache(maxsize=64)
def _ebxml_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_hl7_time(text: str) -> bool:
    """Whether ``text`` is an HL7 time of any precision from the year on, with or without a zone. Spec: 20 §4.4."""
    return _HL7_TIME.match(text) is not None


def comparable_hl7_time(value: str) -> str:
    """Pad an HL7 time of any precision to 14 digits, so that two of them compare as text. Spec: 10 §15."""
    digits = re.match(r"[0-9]*", value)
    return (digits.group() if digits else "")[:14].ljust(14, "0")
