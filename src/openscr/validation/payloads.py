"""The HL7 payload judged: by the reader of its interaction, or by the rules of the wrapper where there is no more.

Spec: 10 §11, §14, §17; 20 §12; 30 §5; 40 §4.2, §5.6.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lxml import etree

from openscr.codes import (
    ACKNOWLEDGEMENT,
    ACS_GET,
    ACS_GET_ANSWER,
    ACS_HAS,
    ACS_HAS_ANSWER,
    ACS_SET,
    ALERT,
    DOCUMENT,
    DOCUMENT_ALIAS,
    DOCUMENT_LIST,
    DOCUMENT_LIST_ALIAS,
    DOCUMENT_LIST_BY_DATE,
    DOCUMENT_LIST_BY_TYPE,
    DOCUMENT_QUERIES,
    DOCUMENT_RETRIEVALS,
    EVENT,
    EVENT_ANSWER,
    EVENT_LIST,
    EVENT_LIST_ANSWER,
    EVENT_LIST_SM,
    EVENT_LIST_SM_ANSWER,
    EXTENDED_LIST_ANSWER,
    HL7_NS,
    INITIAL_UPLOAD,
    POLLING_UPLOAD,
    QUERY_FAILED,
    SCR_PERMISSIONS,
    SUBJECT_ACCESS,
    SUBJECT_ACCESS_ANSWER,
    UPLOAD,
    UPLOADS,
    WITHDRAW,
    WITHDRAW_INITIAL,
    WITHDRAWALS,
)
from openscr.errors import FAULTS, WRAPPER_ERRORS, UnreadableMessage
from openscr.hl7.acknowledgement import read_outcome
from openscr.hl7.acs import read_consent_message
from openscr.hl7.alert import read_alert_message
from openscr.hl7.deviations import deviations_of
from openscr.hl7.document_query import read_document_query
from openscr.hl7.gp_summary import check_document, document_interaction, read_summary_message
from openscr.hl7.permission_check import read_permission_message
from openscr.hl7.psis import HeaderFacts, QueryMessage, read_query
from openscr.hl7.rules.consent_wrapper import LONE_WRAPPER, PARTICIPANTS
from openscr.hl7.rules.queries import QUERY_WRAPPER
from openscr.hl7.scr_application import read_permissions_query
from openscr.hl7.strict import STRICT_INTERACTIONS, check_strict
from openscr.hl7.wrapper import HL7, Finding, Wrapper, child, local_name, read_wrapper
from openscr.validation.findings import FAULT_SYSTEM, Findings
from openscr.validation.places import Document
from openscr.validation.report import Level, Severity
from openscr.validation.schemas import Schemas

KNOWN_NAME: Final = re.compile(
    r"[A-Z]{4}_IN[0-9]{6}(?:UK|SM|GB)[0-9]{2}|(?:SET|GET|HAS)_RESOURCE_PERMISSIONS_(?:RESPONSE_)?INUK01|"
    r"HAS_SCRA_PERMISSIONS_INSM01|SCRA_EXTENDEDRESPONSE_INSM01"
)
"""What the names of interactions look like."""

DOCUMENTS: Final = frozenset({f"{HL7}GPSummary", f"{HL7}MessageWithdrawal"})
"""What an upload or a withdrawal carries."""

_OF_THE_WRAPPER: Final = frozenset({"its_version_missing"})
"""Deviations that a document alone cannot show."""

_NOT_OF_THE_MODEL: Final = "message_id_not_event_id"
"""The one deviation that no schema knows of."""

_SUMMARIES: Final = UPLOADS | WITHDRAWALS
_EVENT_QUERIES: Final = frozenset({EVENT_LIST, EVENT_LIST_SM, EVENT, SUBJECT_ACCESS})
_QUERIES: Final = _EVENT_QUERIES | DOCUMENT_QUERIES.keys() | {SCR_PERMISSIONS}
_CONSENT: Final = frozenset({ACS_SET, ACS_GET})
_RULED: Final = _SUMMARIES | _QUERIES | _CONSENT | {ACS_HAS, ALERT}
"""Interactions with a rule book of their own."""

ANSWERS: Final = frozenset(
    {
        ACKNOWLEDGEMENT,
        QUERY_FAILED,
        EVENT_LIST_ANSWER,
        EVENT_LIST_SM_ANSWER,
        EVENT_ANSWER,
        ACS_GET_ANSWER,
        SUBJECT_ACCESS_ANSWER,
        *DOCUMENT_QUERIES.values(),
        EXTENDED_LIST_ANSWER,
        ACS_HAS_ANSWER,
    }
)
"""Interactions that answer others, and are never requests of their own. Spec: 40 §3, 20 §1."""

REQUESTS: Final = _RULED - {SCR_PERMISSIONS}
"""Interactions that ask Spine for something, and are never answers. Spec: 40 §3."""

_NOT_ROUTED: Final = frozenset({"REPC_IN150015UK03", "REPC_IN150016UK03"})
"""Summaries of the design before this one, which Spine does not route. Spec: 10 §1."""

_ANSWERED: Final = tuple(DOCUMENT_QUERIES.items())
_WORDS: Final = {
    INITIAL_UPLOAD: "GP initial summary",
    UPLOAD: "GP summary",
    POLLING_UPLOAD: "GP summary (polling)",
    WITHDRAW_INITIAL: "withdrawal of a GP initial summary",
    WITHDRAW: "withdrawal of a GP summary",
    ACKNOWLEDGEMENT: "application acknowledgement",
    EVENT_LIST: "event list query",
    EVENT_LIST_SM: "event list query with permissions",
    EVENT: "event query",
    EVENT_LIST_ANSWER: "event list",
    EVENT_LIST_SM_ANSWER: "event list with permissions",
    EVENT_ANSWER: "event",
    DOCUMENT_LIST: "document list query",
    DOCUMENT_LIST_ALIAS: "document list query",
    DOCUMENT_LIST_BY_TYPE: "document list query by heading",
    DOCUMENT_LIST_BY_DATE: "document list query by date",
    DOCUMENT: "document query",
    DOCUMENT_ALIAS: "document query",
    **{name: "document" if request in DOCUMENT_RETRIEVALS else "document list" for request, name in _ANSWERED},
    SUBJECT_ACCESS: "subject access query",
    SUBJECT_ACCESS_ANSWER: "record of a patient",
    SCR_PERMISSIONS: "question of an SCR application, or its answer",
    EXTENDED_LIST_ANSWER: "extended event list",
    QUERY_FAILED: "refused query",
    ACS_SET: "setting of consent",
    ACS_GET: "query of consent",
    ACS_HAS: "question for permission",
    ALERT: "privacy alert",
    ACS_GET_ANSWER: "consent",
}


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the envelope around a payload says: the ebXML action, or, of a SOAP request, the facts of its header."""

    action: str | None = None
    header: HeaderFacts | None = None
    soap: bool = False


@dataclass(frozen=True, slots=True)
class Measure:
    """What a message is judged by beside its rules: the level, and the published schemas that somebody holds."""

    level: Level
    schemas: Schemas | None = None


def describe(name: str) -> str:
    """Return in words what an interaction is."""
    return _WORDS.get(name, name)


def family_of(name: str | None) -> str:
    """Return what our rule ids of an interaction begin with, without the hyphen; empty for none. Spec: 00 §4."""
    if name in WITHDRAWALS:
        return "wd"
    if name in UPLOADS:
        return "gp"
    if name is not None and name.startswith(("QUPC_", "QUQI_", "HAS_SCRA_")):
        return "psis"
    if name is not None and "_RESOURCE_PERMISSIONS_" in name:
        return "acs"
    if name == ALERT:
        return "alert"
    return ""


def interaction_below(root: etree._Element, levels: int = 3) -> etree._Element | None:
    """Return the interaction that an element is, or that it wraps; none when there is none.

    One whose name is wrong is known by its ``interactionId``. ``levels`` is how deep it may be; of several the one
    nearest to the root is taken.
    """
    level = [root]
    for _ in range(levels):
        for element in level:
            if KNOWN_NAME.fullmatch(local_name(element)) or KNOWN_NAME.fullmatch(_stated(element)):
                return element
        level = [below for element in level for below in element.iterchildren("*")]
    return None


def _stated(element: etree._Element) -> str:
    stated = child(element, f"{HL7}interactionId")
    return (stated.get("extension") or "") if stated is not None else ""


def is_answer(element: etree._Element) -> bool:
    """Whether an interaction answers another. Its name decides; its acknowledgement does only where both have one name.

    Spec: 40 §3.
    """
    name = name_of(element)
    if name in REQUESTS or name in ANSWERS:
        return name in ANSWERS
    return child(element, f"{HL7}acknowledgement") is not None


def name_of(element: etree._Element) -> str:
    """Return the name of an interaction: its own, or the one that it states when its own is wrong."""
    own_name = local_name(element)
    return own_name if KNOWN_NAME.fullmatch(own_name) else _stated(element)


def check_payload(
    document: Document,
    element: etree._Element,
    findings: Findings,
    envelope: Envelope | None,
    measure: Measure,
) -> str | None:
    """Judge the interaction that ``element`` is, and return its name; none when it is no interaction.

    ``envelope`` is none for a payload that came alone, and for answers.
    """
    name = name_of(element)
    if not KNOWN_NAME.fullmatch(name):
        findings.note("message", document.offset(element), xpath=document.xpath(element))
        return None
    if etree.QName(element).namespace != HL7_NS:
        # Everything else that could be said follows from that.
        _note_namespace(document, element, name, findings, soap=envelope is not None and envelope.soap)
        return name
    wrapper = read_wrapper(element)
    action = envelope.action if envelope is not None else None
    wanted = action if action in _RULED else name
    header = envelope.header if envelope is not None else None
    if wanted in _RULED and not (wanted == SCR_PERMISSIONS and is_answer(element)):
        _check_request(document, wrapper, wanted, header, findings, measure.level)
    elif name in _NOT_ROUTED:
        findings.note(
            "message",
            document.offset(element),
            code="101",
            system=FAULT_SYSTEM,
            text=FAULTS["101"].description,
            xpath=document.xpath(element),
            variant="not-routed",
        )
    else:
        _check_other(document, wrapper, name, header, findings)
    _check_model(document, element, name, measure, findings)
    return name


def _note_namespace(document: Document, element: etree._Element, name: str, findings: Findings, *, soap: bool) -> None:
    """Add that an interaction is in another namespace, with the code of the answer. Spec: 10 §14; 30 §6.1; 40 §8."""
    code, system, text = "", "", ""
    if soap or name in _QUERIES:
        code, system, text = "101", FAULT_SYSTEM, FAULTS["101"].description
    elif name in _SUMMARIES | _CONSENT | {ALERT}:
        error = WRAPPER_ERRORS["202" if name in _CONSENT else "515"]
        code, system, text = error.code, error.system, error.display
    xpath = document.xpath(element)
    findings.note(
        "message", document.offset(element), code=code, system=system, text=text, xpath=xpath, variant="namespace"
    )


def _check_request(
    document: Document,
    wrapper: Wrapper,
    interaction: str,
    header: HeaderFacts | None,
    findings: Findings,
    level: Level,
) -> None:
    found: Iterable[Finding]
    if interaction in _SUMMARIES:
        summary = read_summary_message(wrapper.root, wrapper, document.data, interaction)
        found = (*summary.rejected, *summary.findings)
        if interaction in UPLOADS:
            _note_deviations(document, wrapper, interaction, findings, level)
    elif interaction in _QUERIES:
        query = _read_query(wrapper, interaction, header)
        for finding in query.findings:
            # A query without an id cannot be answered in HL7, unless its envelope has one. Spec: 20 §9.2.
            fault = "201" if finding.rule == "psis-B1" and query.unanswerable is not None else ""
            findings.add(document, wrapper.root, (finding,), fault=fault)
        return
    elif interaction in _CONSENT:
        consent = read_consent_message(wrapper, interaction, header)
        found = (*consent.rejected, *consent.findings)
    elif interaction == ALERT:
        alert = read_alert_message(wrapper)
        found = (*alert.rejected, *alert.findings)
    else:
        asked = read_permission_message(wrapper, header)
        found = (*asked.rejected, *asked.findings)
    findings.add(document, wrapper.root, found)


def _read_query(wrapper: Wrapper, interaction: str, header: HeaderFacts | None) -> QueryMessage:
    if interaction in DOCUMENT_QUERIES:
        return read_document_query(wrapper, header, interaction)
    if interaction == SCR_PERMISSIONS:
        return read_permissions_query(wrapper, header or _own_facts(wrapper))
    return read_query(wrapper, header or _own_facts(wrapper))


def _own_facts(wrapper: Wrapper) -> HeaderFacts:
    """Return facts that a payload which came alone agrees with: it is compared with nothing but itself."""
    return HeaderFacts(wrapper.interaction, wrapper.receiver_asid, wrapper.sender_asid)


def _note_deviations(document: Document, wrapper: Wrapper, interaction: str, findings: Findings, level: Level) -> None:
    """Warn of what is accepted although the model says otherwise. Spec: 10 §17."""
    subject = child(wrapper.control_act, f"{HL7}subject") if wrapper.control_act is not None else None
    summary = child(subject, f"{HL7}GPSummary") if subject is not None else None
    if summary is None:
        return
    for name, place in deviations_of(wrapper, summary, interaction):
        if level is Level.STRICT and name != _NOT_OF_THE_MODEL:
            continue  # The model's own finding is an error, and says more.
        findings.note_at(f"gp-{name.replace('_', '-')}", document, place, severity=Severity.WARNING)


def check_bare_document(document: Document, findings: Findings, measure: Measure) -> None:
    """Judge a document that has no interaction around it, and say that it cannot travel so."""
    root = document.root
    findings.note(
        "message", document.offset(root), severity=Severity.WARNING, xpath=document.xpath(root), variant="bare"
    )
    findings.add(document, root, check_document(root))
    if root.tag == f"{HL7}GPSummary":
        for name, place in deviations_of(read_wrapper(root), root, document_interaction(root)):
            if name not in _OF_THE_WRAPPER and measure.level is Level.SPINE:
                findings.note_at(f"gp-{name.replace('_', '-')}", document, place, severity=Severity.WARNING)
    of_a_summary = root.tag == f"{HL7}GPSummary"
    name = document_interaction(root) if of_a_summary else WITHDRAW
    _check_model(document, root, name, measure, findings)


def _check_other(
    document: Document, wrapper: Wrapper, name: str, header: HeaderFacts | None, findings: Findings
) -> None:
    """Judge an answer, or a request whose own rules are not known, by what holds for every wrapper. Spec: 40 §5.6."""
    if is_answer(wrapper.root):
        _note_wrapper(document, findings, LONE_WRAPPER.judge(wrapper.root, {"interaction": name}))
        try:
            read_outcome(wrapper.root)
        except UnreadableMessage as error:
            place = child(wrapper.root, f"{HL7}acknowledgement")
            findings.note_at("answer", document, place if place is not None else wrapper.root, text=error.diagnostics)
        return
    if family_of(name) == "psis":
        facts = header or _own_facts(wrapper)
        findings.add(document, wrapper.root, QUERY_WRAPPER.judge(wrapper.root, facts.variables))
    else:
        _note_wrapper(document, findings, LONE_WRAPPER.judge(wrapper.root, {"interaction": name}))
        _note_wrapper(document, findings, PARTICIPANTS.judge(wrapper.root))
    findings.note_at("coverage", document, wrapper.root, severity=Severity.WARNING)


def _note_wrapper(document: Document, findings: Findings, found: Iterable[Finding]) -> None:
    """Add wrapper findings of a message that is not answered with the codes of the Access Control Service."""
    for finding in found:
        place = finding.place if finding.place is not None else document.root
        findings.note_at(finding.rule, document, place, key=finding.key, text=finding.text)


def _check_model(document: Document, element: etree._Element, name: str, measure: Measure, findings: Findings) -> None:
    """Judge an element by the model of its message at level strict, and by the schemas that there are. 10 §11.5."""
    if measure.level is Level.STRICT:
        if name in STRICT_INTERACTIONS and not (name == SCR_PERMISSIONS and is_answer(element)):
            findings.add_strict(document, check_strict(element, name))
        else:
            findings.note_at("coverage", document, element, severity=Severity.WARNING, variant="strict")
    if measure.schemas is not None:
        _check_schema(document, element, measure.schemas, findings)


def _check_schema(document: Document, element: etree._Element, schemas: Schemas, findings: Findings) -> None:
    errors = schemas.errors(element)
    if errors is None:
        findings.note(
            "xsd",
            document.offset(element),
            severity=Severity.WARNING,
            xpath=document.xpath(element),
            variant="no-schema",
        )
    for place, text in errors or ():
        findings.note_at("xsd", document, place, text=text)
    if child(element, f"{HL7}acknowledgement") is None:
        return
    # The schema of an answer looks only past the documents in it; they have a schema of their own.
    for summary in element.iter(f"{HL7}GPSummary"):
        for place, text in schemas.errors(summary) or ():
            findings.note_at("xsd", document, place, text=text)
