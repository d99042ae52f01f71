"""The grammar of queries: events, documents, and what a viewing portal asks.

Spec: 20 §4-§6, §11.1.
"""

from typing import Final

from openscr.codes import OID_DISSENT_OVERRIDE, OID_NHS_NUMBER, OID_ORGANISATION_12, OID_ROLE_PROFILE
from openscr.hl7.strict.datatypes import CV, II, IVL_TS, OID_ID, ST_TYPE, id_of, may, text_of
from openscr.hl7.strict.grammar import MANY, Child, ElementType, OneOf, hl7, optional, sequence
from openscr.hl7.strict.transmission import act, later_message, legacy, legacy_message
from openscr.hl7.strict.values import ST, Value, fixed, words

# --- events ---------------------------------------------------------------------------------------------------------


def _parameter(value: ElementType) -> ElementType:
    """Return a parameter of the event queries: the value, then what it is. Spec: 20 §5."""
    return legacy(hl7("value", value), hl7("semanticsText", ST_TYPE))


_OVERRIDE: Final = hl7("dissentOverride", _parameter(CV))
_NUMBER: Final = hl7("nHSNumber", _parameter(II))
EVENT_LIST_QUERY: Final = legacy_message(hl7("query", legacy(_OVERRIDE, _NUMBER)))
EVENT_QUERY: Final = legacy_message(hl7("query", legacy(_OVERRIDE, hl7("eventRecord", _parameter(II)), _NUMBER)))

# --- documents ------------------------------------------------------------------------------------------------------

_OVERRIDE_CODE: Final = ElementType(
    attributes={
        **CV.attributes,
        **may(code=words("012345"), codeSystem=fixed(OID_DISSENT_OVERRIDE, token=False)),
    },
    content=CV.content,
)


def _filter(name: str, semantics: str, value: ElementType, least: int) -> Child:
    """Return a parameter of the document queries: what it is, then the value. Spec: 20 §4."""
    said = text_of(Value(f'"{semantics}"', frozenset({semantics, ""}).__contains__))
    return hl7(name, act(hl7("semanticsText", said), hl7("value", value)), least)


def _document_query(*filters: Child) -> ElementType:
    query = act(
        _filter("dissentOverride", "DissentOverride", _OVERRIDE_CODE, 1),
        hl7("filterParameters", act(*filters)),
        _filter("nHSNumber", "NHSNumber", OID_ID, 1),
    )
    return later_message(hl7("query", query))


_SET: Final = _filter("setId", "SetId", II, 0)
DOCUMENT_LIST_QUERY: Final = _document_query(
    _filter("date", "Date", IVL_TS, 0), _filter("documentType", "DocumentType", CV, 0), _SET
)
DOCUMENT_QUERY: Final = _document_query(_filter("documentID", "DocumentID", II, 0), _SET)
DOCUMENTS_BY_TYPE_QUERY: Final = _document_query(
    _filter("cREType", "CREType", CV, 1), _filter("date", "Date", IVL_TS, 0)
)
DOCUMENTS_BY_DATE_QUERY: Final = _document_query(_filter("date", "Date", IVL_TS, 1))

# --- what a viewing portal asks -------------------------------------------------------------------------------------

_PERSON: Final = id_of(fixed(OID_ROLE_PROFILE, token=False), ST)
_USER: Final = ElementType(
    attributes=may(classCode=fixed("AGNT")),
    content=sequence(hl7("id", _PERSON), hl7("workgroups", ElementType(attributes=may(id=ST)), 0, MANY)),
)
_GROUP: Final = ElementType(
    attributes=may(classCode=fixed("AGNT")),
    content=sequence(hl7("id", id_of(fixed(OID_ORGANISATION_12, token=False), ST))),
)
_PATIENT: Final = ElementType(
    content=sequence(hl7("value", id_of(fixed(OID_NHS_NUMBER, token=False), ST)), optional("semanticsText", ST_TYPE))
)
_ASKED: Final = ElementType(
    content=sequence(
        hl7(
            "author",
            ElementType(
                attributes=may(typeCode=fixed("AUT")),
                content=sequence(
                    hl7(
                        "AgentPersonSDS",
                        ElementType(attributes=may(classCode=fixed("AGNT")), content=sequence(hl7("id", _PERSON))),
                    )
                ),
            ),
        ),
        hl7(
            "subject",
            ElementType(
                attributes=may(typeCode=fixed("SBJ")),
                content=OneOf((hl7("AgentPersonSDS", _USER), hl7("AgentWorkgroupSDS", _GROUP))),
            ),
        ),
        hl7("nHSNumber", _PATIENT),
    )
)
PORTAL_QUERY: Final = legacy_message(hl7("query", _ASKED))
"""``HAS_SCRA_PERMISSIONS_INSM01``. No schema of it is public; this is the table of 20 §11.1 in the legacy wrapper."""
