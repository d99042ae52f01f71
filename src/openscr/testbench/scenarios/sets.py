"""The trigger numbers of the published simulators, as sets of scenarios that are switched on by name.

Spec: 20 §9.4; 70 §14 "Spine-side harness"; 10 §15 "Test-harness behaviour".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from openscr.codes import EVENT, EVENT_LIST, EVENT_LIST_SM, OID_WARNING, UPLOAD
from openscr.errors import MERGED_LONG_TEXT, NO_EXPLICIT_CONSENT, Issue
from openscr.testbench.scenarios.running import Match, Scenario

PSIS_TRIGGERS: Final = {
    "9160183411": "400",
    "9051327617": "401",
    "9513987272": "410/30112",
    "9120582366": "410/30134",
    "9882944736": "410/30142",
    "9942495894": "410/30307",
    "9759113120": "410/30308",
    "9233774856": "410/30317",
    "9723571064": "410/30318",
    "9886043431": "410/30333",
    "9553094910": "410/30340",
    "9384482226": "410/30344",
    "9089908897": "410/30361",
    "9466868047": "430",
    "9356577838": "500",
    "9760147033": "502",
}
"""What an event list query is refused with, by NHS number. Spec: 20 §9.4."""

_LISTS: Final = (
    EVENT_LIST,
    EVENT_LIST_SM,
    *("QUPC_IN160101UK05", "QUPC_IN160107UK05", "QUPC_IN160109UK05", "QUPC_IN160201UK04"),
)
_DOCUMENTS: Final = (EVENT, "QUPC_IN160103UK05", "QUPC_IN160202UK04")
"""Queries that the mini-service simulator calls list queries and document queries."""

MINI_SERVICE_LISTS: Final = {"9454201085": "fault", "9449310106": "mcci", "9454202103": "quqi"}
MINI_SERVICE_DOCUMENTS: Final = {"9444459993": "fault", "9346424613": "mcci", "9454202111": "quqi"}
"""How that simulator refuses, by NHS number. Spec: 20 §9.4."""

MINI_SERVICE_PATIENTS: Final = ("9449310580", "9449310645")
"""Those whom it answers: they get a summary when the set is switched on."""

NO_MATCH: Final = Issue("1", "No match to a service user record", "ER", OID_WARNING)
UNABLE: Final = Issue("5000", "Unable to process message", "ER", "2.16.840.1.113883.2.1.3.2.4.16.34")
"""Reasons of the mini-service simulator, with code systems of its own. Spec: 20 §9.4."""

UPLOAD_NUMBERS: Final = {"no_consent": "9990110247", "merged": "9990110298", "silent": "9990110255"}
"""The patients whose uploads the test harness refuses or leaves unacknowledged, unless others are named."""

HARNESS_MERGED: Final = Issue("410", f"30307 - {MERGED_LONG_TEXT.format(survivor='0000000000')}")
"""The one reason of the harness for a merged number. Spec: 10 §14."""


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A set of scenarios: what it is for, the numbers that can be chosen, and the patients that it brings along."""

    name: str
    about: str
    make: Callable[[Mapping[str, str]], tuple[Scenario, ...]]
    numbers: Mapping[str, str]
    patients: tuple[str, ...] = ()

    def scenarios(self, numbers: Mapping[str, str] | None = None) -> tuple[Scenario, ...]:
        """Return its scenarios; ``numbers`` are chosen in place of its own."""
        return self.make({**self.numbers, **(numbers or {})})


def _refused(name: str, number: str, code: str, group: str, interactions: tuple[str, ...]) -> Scenario:
    values = {"code": code, "fields": {}, "answer": "quqi"}
    return Scenario(f"{group}.{name}", "error", values, Match(number, interactions), group=group)


def _psis(_numbers: Mapping[str, str]) -> tuple[Scenario, ...]:
    return tuple(
        _refused(code.replace("/", "-"), number, code, "psis-triggers", (EVENT_LIST, EVENT_LIST_SM))
        for number, code in PSIS_TRIGGERS.items()
    )


def _mini_service(_numbers: Mapping[str, str]) -> tuple[Scenario, ...]:
    group = "mini-service-triggers"
    scenarios = []
    for kind, interactions, numbers in (
        ("list", _LISTS, MINI_SERVICE_LISTS),
        ("document", _DOCUMENTS, MINI_SERVICE_DOCUMENTS),
    ):
        for number, answer in numbers.items():
            match = Match(number, interactions)
            name = f"{group}.{kind}-{answer}"
            if answer == "fault":
                scenarios.append(Scenario(name, "fault", {"code": "101"}, match, group=group))
                continue
            issues = (NO_MATCH,) if answer == "quqi" else (UNABLE,)
            values = {"issues": issues, "answer": answer}
            scenarios.append(Scenario(name, "error", values, match, group=group, long_qualifier=answer == "quqi"))
    return tuple(scenarios)


def _uploads(numbers: Mapping[str, str]) -> tuple[Scenario, ...]:
    group = "upload-triggers"
    no_consent, merged, silent = (Match(numbers[each], (UPLOAD,)) for each in ("no_consent", "merged", "silent"))
    return (
        Scenario(f"{group}.no-consent", "error", {"issues": (NO_EXPLICIT_CONSENT,)}, no_consent, group=group),
        Scenario(f"{group}.merged", "error", {"issues": (HARNESS_MERGED,)}, merged, group=group),
        Scenario(f"{group}.silent", "no-answer", {"seconds": 0.0, "how": "close"}, silent, group=group),
    )


SETS: Final = {
    each.name: each
    for each in (
        NamedSet(
            "psis-triggers", "Event list queries of the published SCR simulator: one refusal a number.", _psis, {}
        ),
        NamedSet(
            "mini-service-triggers",
            "List and document queries of the mini-service simulator: answer, SOAP fault, MCCI and QUQI, with codes "
            "and a qualifier of its own.",
            _mini_service,
            {},
            MINI_SERVICE_PATIENTS,
        ),
        NamedSet(
            "upload-triggers",
            "Uploads of the test harness: no consent (420), merged (410), and no transport acknowledgement.",
            _uploads,
            UPLOAD_NUMBERS,
        ),
    )
}
"""Every named set."""
