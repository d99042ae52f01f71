"""The grammar of withdrawals: ``MessageWithdrawal`` by itself and in its message.

The schema has only loose types here; level `strict` looks at UUIDs, OIDs and code systems itself.

Spec: 10 §10.
"""

from typing import Final

from openscr.codes import (
    DOCUMENT_TYPES,
    OID_NHS_NUMBER,
    OID_ROLE_PROFILE,
    OID_SNOMED,
    OID_USER,
    OID_WITHDRAWAL_REASON,
    WITHDRAWAL_REASONS,
)
from openscr.hl7.strict.datatypes import CV, ST_TYPE, TIME, UUID_ID, id_of, may, must
from openscr.hl7.strict.grammar import Attribute, ElementType, hl7, optional
from openscr.hl7.strict.transmission import REASONS, legacy, legacy_message
from openscr.hl7.strict.values import CS, NHS_NUMBER, TWELVE_DIGITS, Value, fixed, words


def _id(root: str, extension: Value) -> ElementType:
    return id_of(fixed(root, token=False), extension)


def _code(system: str, codes: Value) -> ElementType:
    """Return a code of a system; its words may be others, or missing."""
    known: dict[str, Attribute] = must(code=codes, codeSystem=fixed(system, token=False))
    return ElementType(attributes={**CV.attributes, **known}, content=CV.content)


_PATIENT: Final = legacy(hl7("id", _id(OID_NHS_NUMBER, NHS_NUMBER)), classCode="PAT")
_PERSON: Final = legacy(hl7("id", _id(OID_USER, TWELVE_DIGITS)), classCode="PSN", determinerCode="INSTANCE")
_AGENT: Final = legacy(
    hl7("id", _id(OID_ROLE_PROFILE, TWELVE_DIGITS)), hl7("agentPersonSDS", _PERSON), classCode="AGNT"
)
_REASON: Final = legacy(
    hl7("code", _code(OID_WITHDRAWAL_REASON, words(WITHDRAWAL_REASONS))),
    optional("text", ST_TYPE),
    classCode="OBS",
    moodCode="EVN",
)
_TARGET: Final = legacy(hl7("id", UUID_ID), required=must(classCode=CS, moodCode=CS))
_WHY: Final = legacy(hl7("justifyingReason", _REASON), typeCode="RSON")
_WHY.attributes = {**_WHY.attributes, **may(contextConductionInd=fixed("true"))}

WITHDRAWAL: Final = legacy(
    hl7("id", UUID_ID),
    hl7("code", _code(OID_SNOMED, words(DOCUMENT_TYPES))),
    hl7("effectiveTime", TIME),
    hl7("recordTarget", legacy(hl7("patient", _PATIENT), typeCode="RCT")),
    hl7("author", legacy(hl7("AgentPersonSDS", _AGENT), typeCode="AUT", contextControlCode="OP")),
    hl7("reason", _WHY),
    hl7("subject", legacy(hl7("messageRef", _TARGET), typeCode="SUBJ")),
    classCode="ACTN",
    moodCode="RQO",
)
_SUBJECT: Final = legacy(hl7("MessageWithdrawal", WITHDRAWAL), typeCode="SUBJ", contextConductionInd="false")
WITHDRAWAL_MESSAGE: Final = legacy_message(REASONS, hl7("subject", _SUBJECT))
