"""What a search of the directory face asks: parameters and headers read strictly, and refused in plain words.

Spec: 40 §11.2, 60 §13.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from openscr.directory.sds_api import INTERACTION, ODS, PARTY_KEY, ROLE
from openscr.identifiers import is_uuid

FHIR_JSON: Final = "application/fhir+json"
_ACCEPTED: Final = {FHIR_JSON: FHIR_JSON, "application/json": "application/json", "*/*": FHIR_JSON}
_ACCEPTED["application/*"] = FHIR_JSON

MOST_PARAMETERS: Final = 10
_VALUE: Final = re.compile(r"[!-{}~]{1,255}\Z", re.ASCII)
_ENDPOINT_SEARCHES: Final = "organization and both identifiers, or two of these three"


class Refused(Exception):
    """A request is answered with an OperationOutcome."""

    def __init__(self, status: int, issue: str, code: str, diagnostics: str) -> None:
        super().__init__(diagnostics)
        self.status = status
        self.issue = issue
        self.code = code
        self.diagnostics = diagnostics


def bad_request(diagnostics: str) -> Refused:
    """Return the refusal of a request whose parameters or headers are wrong. Spec: 40 §11.2."""
    return Refused(400, "required", "BAD_REQUEST", diagnostics)


@dataclass(frozen=True, slots=True)
class Search:
    """The values that a search gives; what it leaves out is empty. ``interaction`` has its URN."""

    organization: str = ""
    interaction: str = ""
    party_key: str = ""
    manufacturer: str = ""
    role: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    """Name and value of each parameter, for the link to the search itself."""


# Parameter and system of each value, by the member that it becomes.
_ORGANIZATION: Final = {("organization", ODS): "organization"}
_IDENTIFIERS: Final = {("identifier", INTERACTION): "interaction", ("identifier", PARTY_KEY): "party_key"}
_KNOWN: Final = {
    "Device": _ORGANIZATION | _IDENTIFIERS | {("manufacturing-organization", ODS): "manufacturer"},
    "Endpoint": _ORGANIZATION | _IDENTIFIERS,
    "PractitionerRole": {("user-role-id", ROLE): "role"},
}
RESOURCES: Final = tuple(_KNOWN)


def read_search(resource: str, query: bytes) -> Search:
    """Read the parameters of a search for a resource. Raises: `Refused`. Spec: 40 §11.2, 60 §13."""
    known = _KNOWN[resource]
    parameters = _parameters(query)
    values: dict[str, str] = {}
    for name, text in parameters:
        systems = [system for parameter, system in known if parameter == name]
        if not systems:
            names = ", ".join(sorted({parameter for parameter, _ in known}))
            raise bad_request(f"There is a parameter that a search for {resource} does not have; it has {names}.")
        system, bar, value = text.partition("|")
        member = known.get((name, system))
        if member is None or not bar or not _VALUE.match(value):
            forms = " or ".join(f"{each}|value" for each in systems)
            raise bad_request(f"The parameter {name} is written {forms}, URL-encoded.")
        if member in values:
            raise bad_request(f"The parameter {name} with {system} stands more than once.")
        values[member] = value
    search = Search(**values, parameters=tuple(parameters))
    _check_combination(resource, search)
    return search


def _check_combination(resource: str, search: Search) -> None:
    if resource == "Device":
        if not search.organization:
            raise bad_request(f"The parameter organization is missing; it is written {ODS}|value.")
        if not search.interaction:
            raise bad_request(f"The parameter identifier with {INTERACTION}|value is missing.")
    elif resource == "Endpoint":
        if sum(map(bool, (search.organization, search.interaction, search.party_key))) < 2:
            raise bad_request(
                f"A search for Endpoint has {_ENDPOINT_SEARCHES}: {INTERACTION}|value, {PARTY_KEY}|value."
            )
    elif not (search.role.isascii() and search.role.isdigit()):
        raise bad_request(f"The parameter user-role-id is written {ROLE}|digits.")


def _parameters(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query.decode("utf-8"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_PARAMETERS,
        )
    except UnicodeDecodeError:
        raise bad_request("The parameters are not UTF-8.") from None
    except ValueError:
        raise bad_request(f"There are more than {MOST_PARAMETERS} parameters.") from None


def media_type(accept: Sequence[str]) -> str:
    """Return what to answer in, of what the values of ``Accept`` allow. Raises: `Refused`. Spec: 40 §11.2."""
    ranges = [each.strip() for value in accept for each in value.split(",") if each.strip()]
    for each in ranges or ["*/*"]:
        name, *parameters = (part.strip().lower() for part in each.split(";"))
        if name in _ACCEPTED and not any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters):
            return _ACCEPTED[name]
    raise Refused(
        406,
        "not-supported",
        "MISSING_OR_INVALID_HEADER",
        f"The header Accept allows none of {FHIR_JSON} and application/json.",
    )


def is_one_uuid(values: Sequence[str]) -> bool:
    """Whether a header stands once and is a UUID, as ``X-Correlation-ID`` must. Spec: 40 §11.2."""
    return len(values) == 1 and is_uuid(values[0])
