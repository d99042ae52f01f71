"""The patient index as a file of JSON lines.

A wrong line is reported by its number in the file, never by what stands in it.

Spec: 00 §6.4, §6.2; 10 §15 step 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from openscr.directory.entries import PersonName, Text
from openscr.errors import ConfigurationError
from openscr.identifiers import is_nhs_number

_DEMOGRAPHICS: Final = ("name", "birth_date", "gender", "address", "practice")


@dataclass(frozen=True, slots=True)
class ListedPatient:
    """What the file says of one number. ``survivor`` is set for status ``merged`` and for no other.

    ``demographics`` are JSON values by the member names of 00 §6.4: name, birth_date, gender, address, practice.
    """

    nhs_number: str
    status: str = "current"
    survivor: str | None = None
    demographics: Mapping[str, Any] = field(default_factory=dict)


def read_patients(data: bytes) -> list[ListedPatient]:
    """Read a patient index file; of several lines for one number the last one counts, empty lines do not.

    Raises: `ConfigurationError` naming the line. Spec: 00 §6.4.
    """
    patients: dict[str, ListedPatient] = {}
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            patient = _read_line(line, number)
            patients[patient.nhs_number] = patient
    return list(patients.values())


class _Address(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    use: Text | UnsetType = UNSET
    lines: list[Text] | UnsetType = UNSET
    city: Text | UnsetType = UNSET
    postcode: Text | UnsetType = UNSET
    text: Text | UnsetType = UNSET

    def __post_init__(self) -> None:
        if (self.text is not UNSET) == any(part is not UNSET for part in (self.lines, self.city, self.postcode)):
            raise ValueError("an address has either lines, city and postcode or text alone")


class _Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    nhs_number: str
    status: Literal["current", "merged", "deceased", "restricted"] = "current"
    survivor: str | UnsetType = UNSET
    name: PersonName | UnsetType = UNSET
    birth_date: date | UnsetType = UNSET
    gender: Literal["male", "female", "not_specified", "not_known"] | UnsetType = UNSET
    address: _Address | UnsetType = UNSET
    practice: Annotated[str, Meta(pattern=r"^[A-Za-z0-9]+\Z")] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if not is_nhs_number(self.nhs_number):
            raise ValueError("nhs_number is ten digits, the last of them the modulus 11 check digit")
        if (self.status == "merged") != (self.survivor is not UNSET):
            raise ValueError("a merged number has a survivor, and no other has one")
        if self.survivor is not UNSET and not is_nhs_number(self.survivor):
            raise ValueError("survivor is ten digits, the last of them the modulus 11 check digit")
        if self.survivor == self.nhs_number:
            raise ValueError("a number cannot survive itself")


_LINES: Final = msgspec.json.Decoder(_Line)


def _read_line(line: bytes, number: int) -> ListedPatient:
    try:
        form = _LINES.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"patient index, line {number}: {_reason(error)}") from None
    members = msgspec.to_builtins(form)
    return ListedPatient(
        nhs_number=form.nhs_number,
        status=form.status,
        survivor=None if form.survivor is UNSET else form.survivor,
        demographics={name: members[name] for name in _DEMOGRAPHICS if name in members},
    )


def _reason(error: Exception) -> str:
    """Say what is wrong in words that hold nothing of the line itself."""
    if not isinstance(error, msgspec.ValidationError):
        return "this is not a JSON object in UTF-8"
    text, _, place = str(error).partition(" - at ")
    # These two texts quote the line.
    if text.startswith("Object contains unknown field"):
        text = "there is an unknown member"
    elif text.startswith("Invalid enum value"):
        text = "this is not one of the words allowed here"
    return f"{text} ({place.strip('`')})" if place else text
