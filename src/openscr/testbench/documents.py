"""Synthetic summaries as documents, and the practices and clinicians who write them.

Spec: 10 §4-§9, §16; 35 §9.5; 80 §1.4.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from openscr.clinical import Medications, Name, SdsOrganisation, SdsPerson, Summary, Wording, complete, narrate
from openscr.clinical.headings import HEADINGS
from openscr.directory.demo import GP_ROLE_PROFILE, GP_USER
from openscr.hl7.summary_writer import compose, write_summary
from openscr.identifiers import UuidFactory
from openscr.testbench.histories import ACUTE_MONTHS, DISCONTINUED_MONTHS

NEWLY_REGISTERED: Final = (
    "At the time this record was created, this patient had recently registered with the GP Practice. GP Summary "
    "information may not be complete."
)
"""The sentence about a new patient. Spec: 80 §1.4."""


@dataclass(frozen=True, slots=True)
class Practice:
    """A general practice: ODS code, name, address in one line, and who writes its summaries."""

    ods: str
    name: str
    address: str
    authors: tuple[SdsPerson, ...]

    @property
    def organisation(self) -> SdsOrganisation:
        """The practice as the author of an initial summary. Spec: 10 §5."""
        return SdsOrganisation(ods=self.ods, name=Name(text=self.name))


def _gp(role_profile_id: str, user_id: str, given: str, family: str) -> SdsPerson:
    name = Name(prefix="Dr", given=given, family=family)
    return SdsPerson(role_profile_id=role_profile_id, user_id=user_id, name=name, job_role="R8000")


AUTHOR: Final = _gp(GP_ROLE_PROFILE, GP_USER, "Gita", "Demopractice")
PRACTICE: Final = Practice("Y90001", "Demo Practice", "1 Example Lane, Testford, TE1 1ST", (AUTHOR,))

PRACTICES: Final = (
    PRACTICE,
    Practice(
        "Y90002",
        "Samplewood Surgery",
        "22 Sample Street, Testford, TE2 4AB",
        (
            _gp("555000010102", "555000010101", "Huw", "Samplewood"),
            _gp("555000010104", "555000010103", "Ines", "Trialby"),
        ),
    ),
    Practice(
        "Y90003",
        "Fixture Road Health Centre",
        "7 Fixture Road, Testford, TE3 9XY",
        (
            _gp("555000010202", "555000010201", "Moira", "Fixturely"),
            _gp("555000010204", "555000010203", "Tariq", "Modelby"),
        ),
    ),
    Practice(
        "Y90004",
        "Mock Hill Medical Practice",
        "140 Mock Hill, Testford, TE4 2QQ",
        (_gp("555000010302", "555000010301", "Anwen", "Mockridge"),),
    ),
)
"""The practices of synthetic patients. The first is the demo's; the clinicians of the others appear as authors only."""

_PERIODS: Final = {"acute_months": ACUTE_MONTHS, "discontinued_months": DISCONTINUED_MONTHS}


def wording(practice: Practice, *, statement: str | None = None, notice: str = "", left_out: str = "") -> Wording:
    """Return what a summary of a practice says beyond its entries.

    ``statement`` stands in place of all sections, ``notice`` before them; ``left_out`` is a core heading not printed.
    """
    notices = (notice,) if notice else ()
    address = (practice.name, practice.address)
    return Wording(address, notices, statement, frozenset(left_out.split()), **_PERIODS)


def write_document(summary: Summary, mint: UuidFactory, at: datetime, words: Wording) -> bytes:
    """Return the ``GPSummary`` element of a summary, self-contained, in UTF-8; ``mint`` gives every id but its own.

    What is coded is printed; of an initial summary everything is printed and nothing coded. ``at`` is when it was
    made. Raises: `UnwritableSummary`, ValueError. Spec: 10 §4, §5, §16.
    """
    full = complete(summary, mint, at)
    text = narrate(full, words)
    if summary.initial:
        nothing: dict[str, Any] = {heading.member: () for heading in HEADINGS if heading.member != "medications"}
        full = replace(full, medications=Medications(), **nothing)
    return write_summary(compose(full, mint, at, text))
