"""The shape of a GP Summary: what stands around its entries, for updates and for initial summaries.

Spec: 10 §4, §5.
"""

from dataclasses import dataclass
from typing import Final

from openscr.clinical.entries import Entry
from openscr.clinical.headings import HEADINGS
from openscr.clinical.summary import Patient, Presentation
from openscr.clinical.values import Coded
from openscr.codes import (
    DOCUMENT_TYPES,
    GP_INITIAL_SUMMARY,
    GP_SUMMARY,
    OID_NHS_NUMBER,
    OID_TEXT_CODE,
)
from openscr.hl7.datatypes import HTML, MOMENT, UUID, CodedTerm, CodeOnly, Extension
from openscr.hl7.entry_parts import P, fixed_code, separable, template
from openscr.hl7.entry_shapes import ENTRY_SHAPES
from openscr.hl7.participant_shapes import ORGANISATION, SDS_ORGANISATION, participation
from openscr.hl7.shapes import Choice, Content, Fixed, Leaf, Node, Shape, Sub, Within


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedHeading:
    """One ``pertinentInformation2``: a heading code with the entries under it. Spec: 10 §4.4."""

    code: Coded
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryParts:
    """A ``GPSummary`` element as it is written: the members of a summary, entries by heading code."""

    event_id: str
    created: object
    author: object
    patient: Patient | None = None
    status: str = "active"
    presentation: Presentation | None = None
    headings: tuple[CodedHeading, ...] = ()
    replaces: str | None = None


_RELATIONSHIP: Final = {
    "typeCode": "PERT",
    "inversionInd": "false",
    "contextConductionInd": "true",
    "negationInd": "false",
}
_CATEGORY: Final = {"classCode": "CATEGORY", "moodCode": "EVN"}
_DOCUMENTATION: Final = fixed_code("163171000000105", "Care Professional Documentation")
_WITHIN_TEXT: Final = {"typeCode": "COMP", "inversionInd": "false", "negationInd": "false"}

_PRESENTATION: Final = Shape(
    "excerptFrom",
    {**_RELATIONSHIP, "typeCode": "XCRPT"},
    Content(
        template("excerptFrom", family="CSAT"),
        separable(),
        Within(
            "UKCT_MT144051UK01.CareProfessionalDocumentationCRE",
            _CATEGORY,
            Content(
                _DOCUMENTATION,
                Within(
                    "component",
                    _WITHIN_TEXT,
                    Content(
                        template("component"),
                        separable(),
                        Within(
                            "presentationText",
                            {"classCode": "OBS", "moodCode": "EVN"},
                            Content(
                                Leaf("value", "html", HTML),
                                Leaf("id", "id", UUID),
                                fixed_code("PresentationText", "Presentation Text", OID_TEXT_CODE),
                                Fixed("statusCode", {"code": "completed"}),
                                Leaf("effectiveTime", "created", MOMENT),
                            ),
                        ),
                    ),
                ),
            ),
        ),
    ),
    of=Presentation,
)

_ROOT_TYPE: Final = Within(
    "pertinentInformation1",
    _RELATIONSHIP,
    Content(
        template("pertinentInformation1"),
        separable("true"),
        Within("pertinentRootCREType", _CATEGORY, Content(_DOCUMENTATION)),
    ),
)

_ENTRY: Final = Shape(
    "component",
    {"typeCode": "COMP", "contextConductionInd": "true"},
    Content(template("component"), separable(), Choice(ENTRY_SHAPES)),
)

_HEADING_CODE: Final = CodedTerm(kind="CV", terms={heading.code: heading.display for heading in HEADINGS})

_HEADING: Final = Shape(
    "pertinentInformation2",
    _RELATIONSHIP,
    Content(
        template("pertinentInformation1"),
        separable("true"),
        Within(
            "pertinentCREType",
            _CATEGORY,
            Content(Leaf("code", "code", _HEADING_CODE), Sub("entries", _ENTRY, required=True, many=True)),
        ),
    ),
    of=CodedHeading,
)

_PATIENT: Final = Shape(
    "recordTarget",
    {"typeCode": "RCT"},
    Content(
        Within(
            "patient", {"classCode": "PAT"}, Content(Leaf("id", "nhs_number", Extension(OID_NHS_NUMBER, "[0-9]{10}")))
        )
    ),
    of=Patient,
)

_REPLACEMENT: Final = Within(
    "replacementOf",
    {"typeCode": "RPLC"},
    Content(
        Within(
            "priorMessageRef", {"classCode": "COMPOSITION", "moodCode": "EVN"}, Content(Leaf("id", "replaces", UUID))
        )
    ),
    required=False,
)

_ORGANISATIONS: Final = (SDS_ORGANISATION, ORGANISATION)


def _author(*right: Shape) -> Sub:
    """Return the author. Real senders put any kind of author on any kind of summary."""
    shape = participation("author", "AUT", (*P, *_ORGANISATIONS), MOMENT, right=right)
    return Sub("author", shape, required=True)


_TIME: Final = Leaf("effectiveTime", "created", MOMENT)
_STATUS: Final = Leaf("statusCode", "status", CodeOnly(frozenset({"active", "nullified"})))


def _summary(code: str, *nodes: Node) -> Shape:
    identity = (Leaf("id", "event_id", UUID), fixed_code(code, DOCUMENT_TYPES[code]))
    return Shape(
        "GPSummary", {"classCode": "COMPOSITION", "moodCode": "EVN"}, Content(*identity, *nodes), of=SummaryParts
    )


UPDATE: Final = _summary(
    GP_SUMMARY,
    _TIME,
    _STATUS,
    _author(*P),
    Sub("presentation", _PRESENTATION, required=True),
    _ROOT_TYPE,
    Sub("headings", _HEADING, many=True, wanted=True),
    Sub("patient", _PATIENT, required=True),
    _REPLACEMENT,
)
"""A summary of the interactions 016. Spec: 10 §4."""

INITIAL: Final = _summary(
    GP_INITIAL_SUMMARY,
    _STATUS,
    _TIME,
    _author(*_ORGANISATIONS),
    Sub("presentation", _PRESENTATION, required=True),
    _ROOT_TYPE,
    Sub("patient", _PATIENT, required=True),
)
"""An initial summary, interaction 015. Spec: 10 §5."""

HEADING_CODES: Final = {heading.member: Coded(heading.code, heading.display) for heading in HEADINGS}
"""The code of each heading by its member name. Spec: 10 §7."""
