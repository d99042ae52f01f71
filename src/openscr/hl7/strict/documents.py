"""The grammar of the answers to document queries.

Spec: 20 §13.
"""

from typing import Final

from openscr.codes import NPFITLC_NS, OID_DATA_QUALITY, OID_EVENT_STATUS, OID_NHS_NUMBER, OID_QUERY_ACT
from openscr.hl7.strict.answers import DOCUMENT_STATES
from openscr.hl7.strict.datatypes import (
    CE,
    CV,
    EN,
    II,
    INT_TYPE,
    IVL_TS,
    OID_ID,
    ON,
    ST_TYPE,
    TIME,
    UUID_ID,
    WHOLE,
    code_of,
    id_of,
)
from openscr.hl7.strict.grammar import MANY, Child, ElementType, Foreign, Particle, hl7, optional
from openscr.hl7.strict.transmission import QUERY_ACK, REASONS, act, later_message
from openscr.hl7.strict.values import NHS_NUMBER, fixed, words
from openscr.hl7.wrapper import HL7


def _act(code: str, *parts: Particle) -> ElementType:
    """Return an act of the collection, told by its code. Spec: 20 §13 ``QueryActType``."""
    return act(_code(code), *parts, classCode="OBS", moodCode="EVN")


def _code(code: str) -> Child:
    return hl7("code", code_of(fixed(code), OID_QUERY_ACT))


def _component(name: str, number: str, of: ElementType, least: int = 1) -> Child:
    return hl7(f"component{number}", act(hl7(name, of), typeCode="COMP"), least)


_SCOPE: Final = act(hl7("id", OID_ID), hl7("name", ON), classCode="ORG", determinerCode="INSTANCE")
_AUTHOR: Final = act(
    optional("code", CE),
    hl7("id", II, 0, 2),
    optional("agentPlayingAuthor", act(hl7("name", EN), free=("classCode",), determinerCode="INSTANCE")),
    optional("representedScopingOrg", _SCOPE),
    free=("classCode",),
)
_PLACE: Final = act(hl7("code", CV), classCode="SDLOC")
_ENCOUNTER: Final = act(
    hl7("effectiveTime", IVL_TS),
    hl7("location", act(hl7("serviceDeliveryLocation", _PLACE), typeCode="LOC")),
    classCode="ENC",
    moodCode="EVN",
)
_META: Final = act(
    hl7("code", CV),
    hl7("effectiveTime", TIME),
    optional("setId", II),
    hl7("title", ST_TYPE),
    optional("versionNumber", INT_TYPE),
    hl7("author2", act(hl7("documentAuthor", _AUTHOR), typeCode="AUT", contextControlCode="AP")),
    optional("componentOf", act(hl7("encompassingEncounter", _ENCOUNTER), typeCode="COMP")),
    classCode="DOCCLIN",
    moodCode="EVN",
)
_STATE: Final = code_of(words(DOCUMENT_STATES), OID_EVENT_STATUS, words(DOCUMENT_STATES.values(), token=False))
_QUALITY: Final = code_of(words(("NORMAL", "DQSUSPECT", "DQNULLIFIED")), OID_DATA_QUALITY)
_KEEPER: Final = act(hl7("representedCustodianOrganization", _SCOPE), classCode="ASSIGNED")


def _collection(most: int, *content: Particle) -> ElementType:
    entry = act(
        hl7("availabilityTime", TIME),
        _code("PDMD"),
        hl7("effectiveTime", TIME),
        hl7("id", UUID_ID),
        Child(f"{{{NPFITLC_NS}}}messageType", OID_ID),
        _component("documentState", "1", _act("DCST", hl7("value", _STATE))),
        _component("estDocSize", "14", _act("ESTD", hl7("value", WHOLE))),
        _component("replacingDocUUID", "2", _act("RPLD", hl7("value", UUID_ID)), 0),
        _component("documentMetaData", "3", _META),
        _component("withdrawingDocUUID", "4", _act("WTHD", hl7("value", UUID_ID)), 0),
        _component("documentDQState", "5", _act("DQST", hl7("value", _QUALITY))),
        *content,
        optional("custodian", act(hl7("assignedCustodian", _KEEPER), typeCode="CST")),
        classCode="OBS",
        moodCode="EVN",
    )
    patient = act(hl7("id", id_of(fixed(OID_NHS_NUMBER, token=False), NHS_NUMBER)), classCode="PAT")
    collection = _act(
        "DCOL",
        hl7("component", act(hl7("pSISDocMetaData", entry), typeCode="COMP"), 1, most),
        _component("careRecordState", "12", _act("CRST", hl7("value", CV))),
        hl7("recordTarget", act(hl7("patient", patient), typeCode="RCT")),
    )
    subject = act(hl7("DocumentCollection", collection), free=("typeCode",))
    return later_message(REASONS, optional("subject", subject), QUERY_ACK, answer=True)


DOCUMENT_LIST: Final = _collection(MANY)
DOCUMENT: Final = _collection(1, hl7("component7", act(Foreign(HL7), typeCode="COMP")))
"""The answer that brings the document itself. Spec: 20 §13 160104."""
