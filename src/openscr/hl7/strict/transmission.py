"""What is around a payload: transmission wrapper, control act with its participants, acknowledgement, reasons.

Two generations of models are in use. *Legacy* elements have optional attributes with a default, and some more
(`legacy`); those of the other generation have fixed attributes that must be there (`act`), from MIM 6 on with
``nullFlavor`` and ``updateMode`` (`INFRASTRUCTURE`).

Spec: 10 §2, §3, §13; 20 §3; 30 §3.
"""

from collections.abc import Mapping
from typing import Final

from openscr.codes import OID_INTERACTION
from openscr.hl7.strict.datatypes import (
    AD,
    CD,
    CS_TYPE,
    CV,
    II,
    PN,
    TEL,
    TIME,
    TS_TYPE,
    UUID_ID,
    may,
    must,
)
from openscr.hl7.strict.grammar import MANY, Attribute, Child, ElementType, Particle, hl7, optional, sequence
from openscr.hl7.strict.shapes import LEGACY
from openscr.hl7.strict.values import CS, fixed, pattern, words

INFRASTRUCTURE: Final = may(
    nullFlavor=words(("NI", "NA", "UNK", "NASK", "ASKU", "NAV", "OTH", "PINF", "NINF", "MSK", "QS", "TRC")),
    updateMode=words(("added", "altered", "removed", "unchanged")),
)
"""Attributes that every element of the later models may have."""


def legacy(*parts: Particle, required: Mapping[str, Attribute] | None = None, **codes: str) -> ElementType:
    """Return a legacy element: what its class, mood and type may be, if they are given. Spec: 10 §2, §10."""
    allowed = may(**{name: fixed(code) for name, code in codes.items()})
    return ElementType(attributes={**LEGACY, **allowed, **(required or {})}, content=sequence(*parts))


def act(*parts: Particle, infrastructure: bool = True, free: tuple[str, ...] = (), **codes: str) -> ElementType:
    """Return an element with fixed attributes that must be there; those that are ``free`` may hold any code."""
    said = must(**{name: fixed(code) for name, code in codes.items()}, **dict.fromkeys(free, CS))
    return ElementType(attributes={**(INFRASTRUCTURE if infrastructure else {}), **said}, content=sequence(*parts))


# --- who and what sends ---------------------------------------------------------------------------------------------

_PLACE: Final = legacy(
    optional("name", PN), optional("telecom", TEL), optional("addr", AD), classCode="PLC", determinerCode="INSTANCE"
)
_LOCATION: Final = legacy(hl7("code", CV), optional("location", _PLACE), classCode="SDLOC")
_ORGANISATION_SDS: Final = legacy(
    hl7("id", II),
    hl7("serviceDeliveryLocation", _LOCATION, 0, MANY),
    classCode="ORG",
    determinerCode="INSTANCE",
)
_PERSON_SDS: Final = legacy(hl7("id", II), classCode="PSN", determinerCode="INSTANCE")
AGENT_PERSON: Final = legacy(hl7("id", II), hl7("agentPersonSDS", _PERSON_SDS), classCode="AGNT")
_AGENT_ORGANISATION: Final = legacy(
    optional("id", II), optional("code", CV), hl7("agentOrganizationSDS", _ORGANISATION_SDS), classCode="AGNT"
)


def _device(class_code: str) -> ElementType:
    organisation = legacy(
        hl7("id", II),
        hl7("AgentOrgSDS", _AGENT_ORGANISATION),
        hl7("AgentPersonSDS", AGENT_PERSON),
        classCode=class_code,
        determinerCode="INSTANCE",
    )
    return legacy(
        hl7("id", II, 1, MANY),
        optional("agencyFor", legacy(optional("representedOrganization", organisation), classCode="AGNT")),
        classCode="DEV",
        determinerCode="INSTANCE",
    )


def _functions(device: ElementType) -> tuple[Child, Child]:
    return (
        hl7("communicationFunctionRcv", legacy(hl7("device", device), typeCode="RCV"), 1, MANY),
        hl7("communicationFunctionSnd", legacy(hl7("device", device), typeCode="SND")),
    )


_OF_REQUEST: Final = _functions(_device("ORG"))
_OF_ANSWER: Final = _functions(_device("ENT"))
_SYSTEM: Final = legacy(
    hl7("agentSystemSDS", legacy(hl7("id", II), classCode="DEV", determinerCode="INSTANCE")), classCode="AGNT"
)
_ROLE: Final = legacy(hl7("partSDSRole", legacy(hl7("id", II), classCode="ROL")), typeCode="PART")
_AUTHOR_PERSON: Final = legacy(hl7("id", II), hl7("agentPersonSDS", _PERSON_SDS), hl7("part", _ROLE), classCode="AGNT")
AUTHORS: Final = (
    optional("author", legacy(hl7("AgentPersonSDS", _AUTHOR_PERSON), typeCode="AUT")),
    hl7("author1", legacy(hl7("AgentSystemSDS", _SYSTEM), typeCode="AUT"), 1, 2),
)
"""Person and systems of a control act. Spec: 10 §3."""

_ISSUE: Final = legacy(hl7("code", CD), classCode="ALRT", moodCode="EVN")
REASONS: Final = hl7("reason", legacy(hl7("justifyingDetectedIssueEvent", _ISSUE), typeCode="RSON"), 0, MANY)
"""Issues of an answer. Spec: 10 §13, 20 §3.3."""

_DETAIL: Final = legacy(hl7("code", CV), required=must(typeCode=words(("ER", "WG", "IF"))))
_ACKNOWLEDGEMENT: Final = hl7(
    "acknowledgement",
    legacy(
        hl7("acknowledgementDetail", _DETAIL, 0, MANY),
        hl7("messageRef", legacy(hl7("id", II))),
        required=must(typeCode=words(("AA", "AE", "AR"))),
    ),
)
QUERY_ACK: Final = hl7("queryAck", legacy(hl7("queryResponseCode", CS_TYPE)))

# --- the control act and the message --------------------------------------------------------------------------------


def legacy_message(*payload: Particle, answer: bool = False) -> ElementType:
    """Return a message of the legacy wrapper: authors, then ``payload`` in its control act. Spec: 20 §3.1, §3.3."""
    event = legacy(*AUTHORS, *payload, moodCode="EVN")
    event.attributes = {**event.attributes, **may(classCode=words(("CACT", "ALRT")))}
    return legacy(
        hl7("id", II),
        hl7("creationTime", TS_TYPE),
        hl7("versionCode", CS_TYPE),
        hl7("interactionId", II),
        hl7("processingCode", CS_TYPE),
        hl7("processingModeCode", CS_TYPE),
        hl7("acceptAckCode", CS_TYPE),
        *((_ACKNOWLEDGEMENT, *_OF_ANSWER) if answer else _OF_REQUEST),
        hl7("ControlActEvent", event),
    )


_VERSIONS_4: Final = (
    "2.0 2.1 2.2 2.3 3.0 3.1 3.1.01 3.1.02 3.1.03 3.1.04 3.1.05 3.1.06 3.1.07 3.1.08 3.1.09 3.1.10 4.0.0 4. 4.1.01 "
    "4.1.02 4.2.00"
)
_VERSIONS_5: Final = f"{_VERSIONS_4.replace(' 4. ', ' ')} 4.1 4.1.03 4.1.04 5.0 5.1 5.2 5.3 5.4.00"
_VERSIONS_6: Final = (
    "5.5.00 5.5.01 6.1.00 6.1.01 6.1.02 6.2.00 6.2.01 6.2.02 6.3.00 6.3.01 7.0.00 7.1.00 7.2.00 7.2.01 7.2.02"
)
VERSIONS_OF_MIM_4: Final = tuple(f"V3NPfIT{number}" for number in _VERSIONS_4.split())
"""Version codes that the schemas of MIM 4.2.00 list. Spec: 10 §1.1."""

VERSIONS_OF_MIM_7: Final = (
    *(f"V3NPfIT{number}" for number in _VERSIONS_5.split()),
    *(f"3NPfIT{number}" for number in _VERSIONS_6.split()),
)
"""Version codes that the later schemas list; the newest of them have lost their V. Spec: 10 §1.1."""

_UPLOAD_VERSION: Final = words(VERSIONS_OF_MIM_4, "a version code of the list, for example V3NPfIT4.2.00")
_QUERY_VERSION: Final = words(VERSIONS_OF_MIM_7, "a version code of the list, for example 3NPfIT7.2.02")


def _code(value: Attribute, **more: Attribute) -> ElementType:
    return ElementType(attributes={"code": value, **more})


def _heading(version: ElementType, time: ElementType, interaction: str) -> tuple[Child, ...]:
    identifier = must(root=fixed(OID_INTERACTION, token=False), extension=pattern(interaction, "an interaction id"))
    return (
        hl7("id", UUID_ID),
        hl7("creationTime", time),
        hl7("versionCode", version),
        hl7("interactionId", ElementType(attributes=identifier)),
        hl7("processingCode", ElementType(attributes=must(code=words("DPT")))),
        hl7("processingModeCode", ElementType(attributes=must(code=words("AIRT")))),
        hl7("acceptAckCode", CS_TYPE),
    )


def upload_message(*payload: Particle, interaction: str) -> ElementType:
    """Return an upload: the wrapper and the control act of MIM 4.2.00, with ``ITSVersion``. Spec: 10 §2, §3, §12."""
    version = ElementType(attributes=must(code=_UPLOAD_VERSION))
    event = act(*AUTHORS, REASONS, *payload, infrastructure=False, free=("classCode", "moodCode"))
    made = act(*_heading(version, TS_TYPE, interaction), *_OF_REQUEST, hl7("ControlActEvent", event))
    made.attributes = must(ITSVersion=fixed("XML_1.0", token=False))
    return made


_PUBLISHED: Final = "[A-Z]{4}_IN[0-9]{6}(UK|GB)[0-9]{2}"


def later_message(*payload: Particle, answer: bool = False, interaction: str = _PUBLISHED) -> ElementType:
    """Return a message of the wrapper of MIM 6 and later. Spec: 20 §3.1, §3.3, 80 §5.2."""
    known = must(code=_QUERY_VERSION)
    if answer:
        known |= may(nullFlavor=words(("NI", "NA", "UNK", "NASK", "ASKU", "NAV", "OTH", "PINF", "NINF")))
    around = (_ACKNOWLEDGEMENT, *_OF_ANSWER) if answer else _OF_REQUEST
    event = act(*AUTHORS, *payload, free=("classCode", "moodCode"))
    heading = _heading(ElementType(attributes=known), TIME, interaction)
    return act(*heading, *around, hl7("ControlActEvent", event))
