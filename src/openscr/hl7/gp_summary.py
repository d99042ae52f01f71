"""GP Summary uploads and withdrawals: bytes to `Upload` and `Withdrawal`, and back.

On the upload path only the metadata of 10 §11.4 and what the rules look at is read: an entry that cannot be understood
never refuses an upload. The document itself is located in the received bytes, never copied or changed.

Spec: 10 §2-§5, §9.2, §10, §11, §14, §17.
"""

from dataclasses import dataclass
from typing import Final

from lxml import etree

from openscr.codes import (
    DOCUMENT_TYPES,
    GP_INITIAL_SUMMARY,
    GP_SUMMARY,
    HL7_NS,
    INITIAL_UPLOAD,
    OID_NHS_NUMBER,
    OID_ODS,
    OID_ORGANISATION_12,
    OID_ROLE_PROFILE,
    OID_SNOMED,
    OID_USER,
    OID_WITHDRAWAL_REASON,
    PRESENTATION_NS,
    UPLOAD,
    UPLOADS,
    WITHDRAW_INITIAL,
    WITHDRAWAL_REASONS,
    WITHDRAWALS,
)
from openscr.errors import GENERAL, WRAPPER_ERRORS, detail_issue
from openscr.hl7.deviations import find_deviations, presentation_values
from openscr.hl7.rules import in_document_order
from openscr.hl7.rules.summaries import (
    SUMMARY,
    UPLOAD_COMMON,
    UPLOAD_SUBJECT,
    UPLOAD_WRAPPER,
    WITHDRAWAL,
    WITHDRAWAL_COMMON,
    WITHDRAWAL_SUBJECT,
    WITHDRAWAL_WRAPPER,
)
from openscr.hl7.wrapper import (
    HL7,
    NAMESPACE,
    Finding,
    Heading,
    Wrapper,
    attributes_of,
    child,
    children,
    descend,
    extensions,
    local_name,
    read_person,
    write_message,
)
from openscr.identifiers import addressed_number
from openscr.spine import AckType, Document, MessageIds, Outcome, Person, Upload, Withdrawal
from openscr.transport.xml import element_span, escape, inherited_declarations, outermost, text_of, write_element

_ID = f"{HL7}id"
_CODE = f"{HL7}code"
_TIME = f"{HL7}time"
_NAME = f"{HL7}name"
_AUTHOR = f"{HL7}author"
_AUTHOR1 = f"{HL7}author1"
_AGENT_PERSON = f"{HL7}AgentPersonSDS"
_AGENT_SYSTEM = f"{HL7}AgentSystemSDS"
_SYSTEM_SDS = f"{HL7}agentSystemSDS"
_RECORD_TARGET = (f"{HL7}recordTarget", f"{HL7}patient", _ID)
_INVALID_DATA: Final = "ErrorBase1733.INVALID_DOCUMENT_DATA"
_MISSING: Final = "ErrorBase1733.MANDATORY_FIELD_MISSING"
_NHS_NUMBER_ISSUE = detail_issue("35160", field="NHS Number")

DISSENT_PHRASES: Final = (
    ("Refused consent for upload to national shared electronic record", ("CASE1a", "CASE1b", "CASE1c", "ISOFT")),
    (
        "Following discussion with a member of the practice staff this patient has chosen not to store their clinical "
        "information",
        ("CASE2a", "CASE2b", "CASE2c", "Standard"),
    ),
    (
        "After discussions with a member of the practice staff this patient has chosen not to have a Summary Care "
        "Record",
        ("CASE3a", "CASE3b", "CASE3c", "INPS"),
    ),
)
"""Phrases that make a summary a dissent, and the report for each of ``td``, ``h1``, ``h2``, ``h3``. Spec: 10 §9.2."""

NO_CONTENT_PHRASE: Final = "The practice holds no significant data on this patient"

REFUSAL = "Refusal"
"""Local part of the care record element that states the refusal of consent."""

_TEXT_OF = etree.XPath("string()")
_ENTRIES = etree.XPath("h:pertinentInformation2/h:pertinentCREType/h:component/*", namespaces={"h": HL7_NS})
_SEARCHED = tuple(f"{{{PRESENTATION_NS}}}{name}" for name in ("td", "h1", "h2", "h3"))


@dataclass(frozen=True, slots=True)
class SummaryMessage:
    """What was read from an upload or a withdrawal.

    ``nhs_number`` is there when it has ten digits, whatever else is wrong. ``rejected`` are wrapper errors (AR): when
    there are any, no rule was looked at. ``request`` is there when no finding forbids it. Spec: 10 §11.5, §14.
    """

    wrapper: Wrapper
    nhs_number: str | None
    rejected: tuple[Finding, ...] = ()
    findings: tuple[Finding, ...] = ()
    request: Upload | Withdrawal | None = None

    @property
    def refusal(self) -> Outcome | None:
        """The outcome that the message's own faults decide, or none when it may be processed. Spec: 10 §14."""
        if self.rejected:
            return Outcome(AckType.REJECTED, tuple(finding.issue for finding in self.rejected))
        if self.findings:
            issues = dict.fromkeys((GENERAL["400"], *(finding.issue for finding in self.findings)))
            return Outcome(AckType.ERROR, tuple(issues))
        return None


UNREADABLE = Outcome(AckType.REJECTED, (WRAPPER_ERRORS["202"],))
"""Outcome of a payload that is not well-formed XML. Spec: 10 §14."""


def read_summary_message(root: etree._Element, wrapper: Wrapper, payload: bytes, interaction: str) -> SummaryMessage:
    """Read an upload or withdrawal that was parsed from ``payload``; ``interaction`` is the ``eb:Action``.

    Nothing is raised for a faulty message: every fault is in the result. Spec: 10 §11, §14.
    """
    subject = child(wrapper.control_act, f"{HL7}subject") if wrapper.control_act is not None else None
    name = f"{HL7}MessageWithdrawal" if interaction in WITHDRAWALS else f"{HL7}GPSummary"
    documents = list(subject.iterchildren(name)) if subject is not None else []
    document = documents[0] if len(documents) == 1 else None
    numbers = _nhs_numbers(document)
    nhs_number = addressed_number(numbers)
    upload = interaction in UPLOADS
    rejected = (UPLOAD_WRAPPER if upload else WITHDRAWAL_WRAPPER).judge(root, {"interaction": interaction})
    if rejected:
        return SummaryMessage(wrapper, nhs_number, tuple(rejected))
    findings = (UPLOAD_COMMON if upload else WITHDRAWAL_COMMON).judge(root)
    missing = (UPLOAD_SUBJECT if upload else WITHDRAWAL_SUBJECT).judge(root)
    if not missing:
        findings += (SUMMARY if upload else WITHDRAWAL).judge(root)
    findings += missing
    if findings or document is None:
        return SummaryMessage(wrapper, nhs_number, (), in_document_order(findings))
    request: Upload | Withdrawal
    if upload:
        request = _read_upload(document, numbers[0], wrapper, payload, interaction)
    else:
        request = _read_withdrawal(document, numbers[0], wrapper, interaction)
    return SummaryMessage(wrapper, nhs_number, (), (), request)


def check_document(document: etree._Element) -> tuple[Finding, ...]:
    """Judge a ``GPSummary`` or ``MessageWithdrawal`` that has no interaction around it.

    The rules of the wrapper and C1-C5 have nothing to look at. Spec: 10 §11.2, §11.3.
    """
    rules = SUMMARY if local_name(document) == "GPSummary" else WITHDRAWAL
    return in_document_order(rules.judge_document(document))


def document_interaction(document: etree._Element) -> str:
    """Return the interaction that brings a summary of this type: an initial one has its own."""
    code = child(document, _CODE)
    return INITIAL_UPLOAD if code is not None and code.get("code") == GP_INITIAL_SUMMARY else UPLOAD


def _nhs_numbers(document: etree._Element | None) -> list[str]:
    if document is None:
        return []
    return attributes_of(descend(document, *_RECORD_TARGET), "extension")


# --- uploads --------------------------------------------------------------------------------------------------------

_AGENT_NAMES = ("agentOrganizationSDS", "agentOrganization", "agentPersonSDS", "agentPerson")


def _read_upload(
    document: etree._Element, nhs_number: str, wrapper: Wrapper, payload: bytes, interaction: str
) -> Upload:
    """Read what the record keeps of a summary that breaks no rule. Spec: 10 §11.4."""
    parts = children(document)
    (event_id,) = attributes_of(parts[_ID], "root")
    (status,) = attributes_of(parts[f"{HL7}statusCode"], "code")
    targets = attributes_of(
        [i for r in parts.get(f"{HL7}replacementOf", ()) for i in r.iterfind(f"{HL7}priorMessageRef/{_ID}")], "root"
    )
    authors = parts[_AUTHOR]
    (author_time,) = attributes_of([t for author in authors for t in author.iterchildren(_TIME)], "value")
    content, refused = _content_of(document)
    presented = presentation_values(document)
    dissent, no_content = _search_presentation(presented)
    if refused:
        dissent = (*dissent, REFUSAL)
    metadata = _author_metadata(_agent_of(authors))
    metadata["author/time"] = author_time
    code = next(each for each in parts[_CODE] if each.get("code") is not None)
    metadata["eventTypeDisplayName"] = code.get("displayName") or ""
    metadata["eventTypeCodeSystem"] = code.get("codeSystem") or ""
    metadata["statusCode"] = status
    if targets:
        metadata["targetOfRef"] = targets[0].upper()
    if no_content:
        metadata["noSignificantContent"] = "standard"
    return Upload(
        ids=MessageIds(wrapper.message_id, interaction),
        nhs_number=nhs_number,
        event_id=event_id.upper(),
        event_type=code.get("code") or "",
        effective_time=attributes_of(parts[f"{HL7}effectiveTime"], "value")[0],
        document=locate_document(document, payload),
        author=standalone_xml(authors[0]),
        nullified=status == "nullified",
        replaces=tuple(target.upper() for target in targets),
        content=content,
        dissent=dissent,
        metadata=metadata,
        deviations=find_deviations(wrapper, parts, presented, event_id, interaction),
    )


def _agent_of(authors: list[etree._Element]) -> tuple[str, etree._Element]:
    """Return the one agent that the author participation names, and which of the four kinds it is."""
    return next(
        (name, agent)
        for author in authors
        for holder in author.iterchildren("*")
        for agent in holder.iterchildren(*(HL7 + name for name in _AGENT_NAMES))
        if (name := local_name(agent))
    )


def locate_document(element: etree._Element, payload: bytes) -> Document:
    """Find an element in the bytes that it was parsed from, and what it inherits from its ancestors. Spec: 20 §7.2."""
    offset, length, name_length = element_span(payload, element)
    return Document(payload, offset, length, name_length, inherited_declarations(element))


def standalone_xml(element: etree._Element) -> bytes:
    """Return a small element as self-contained XML that no surrounding default namespace can change."""
    text = write_element(element)
    if None in element.nsmap:
        return text
    name = f"{element.prefix}:{local_name(element)}" if element.prefix else local_name(element)
    name_end = len("<") + len(name.encode())
    return text[:name_end] + b' xmlns=""' + text[name_end:]


def _content_of(document: etree._Element) -> tuple[frozenset[str], bool]:
    """Return the care record elements that have an id, by the local part of their names, and whether one refuses.

    A Refusal counts with and without an id. Spec: 10 §9.2, §11.4.
    """
    found = set()
    refused = False
    for entry in _ENTRIES(document):
        name = local_name(entry).partition(".")[2]
        refused = refused or name == REFUSAL
        if name and name not in found:
            identifier = child(entry, _ID)
            if identifier is not None and identifier.get("root"):
                found.add(name)
    return frozenset(found), refused


def _search_presentation(presented: list[etree._Element]) -> tuple[tuple[str, ...], bool]:
    """Return the dissent reports and whether "no significant data" is said. Spec: 10 §9.2.

    The whole text is looked at first: a phrase inside one element is inside the whole as well. For the same reason only
    the outermost of nested elements with one name are looked at, so the time is linear in the text.
    """
    triggers: list[str] = []
    no_content = False
    for value in presented:
        text = str(_TEXT_OF(value))
        for phrase, reports in DISSENT_PHRASES:
            if phrase in text:
                triggers += [
                    report for tag, report in zip(_SEARCHED, reports, strict=True) if _some_contains(value, tag, phrase)
                ]
        if NO_CONTENT_PHRASE in text:
            no_content = no_content or _some_contains(value, _SEARCHED[3], NO_CONTENT_PHRASE)
    return tuple(triggers), no_content


def _some_contains(value: etree._Element, tag: str, phrase: str) -> bool:
    return any(phrase in str(_TEXT_OF(element)) for element in outermost(value, tag))


def _author_metadata(named: tuple[str, etree._Element]) -> dict[str, str]:
    """Return the author's part of the metadata by report name. Spec: 10 §11.4."""
    found: dict[str, str] = {}
    kind, agent = named
    holder = agent.getparent()
    found["author.type"] = kind.replace("Organization", "Org")
    if kind == "agentPersonSDS" and holder is not None:
        # The rules count ids wherever they stand; what is not at the agent itself is not its own.
        found["author/roleProfileIdCode"] = next(iter(extensions(holder, _ID, OID_ROLE_PROFILE)), "")
        found["author/personIdCode"] = next(iter(extensions(agent, _ID, OID_USER)), "")
    elif kind == "agentOrganizationSDS":
        for root in (OID_ODS, OID_ORGANISATION_12):
            for extension in extensions(agent, _ID, root):
                found["author/idCode"], found["author/idCodeSystem"] = extension, root
    else:
        code = holder.find(_CODE) if holder is not None else None
        if code is not None:
            label, title = ("jobRole", "Description") if kind == "agentPerson" else ("organizationRole", "DisplayName")
            found[f"author/{label}Code"] = code.get("code") or ""
            found[f"author/{label}CodeSystem"] = code.get("codeSystem") or ""
            found[f"author/{label}{title}"] = code.get("displayName") or ""
        if kind == "agentOrganization" and (organisation := child(agent, _CODE)) is not None:
            found["author/organizationCode"] = organisation.get("code") or ""
        address = holder.find(f"{HL7}addr") if holder is not None else None
        if address is not None:
            found["author/address"] = " ".join(str(_TEXT_OF(address)).split())
            found["author/addressUse"] = address.get("use") or ""
    name = agent.find(_NAME)
    if name is not None:
        parts = [part for part in name if isinstance(part.tag, str)]
        if parts:
            givens = 0
            for part in parts:
                label = local_name(part)
                if label == "given":
                    givens += 1
                    label = f"givenName{givens}"
                label = "familyName" if label == "family" else label
                found[f"author/structuredName/{label}"] = text_of(part).strip()
        else:
            found["author/unstructuredName"] = " ".join(str(_TEXT_OF(name)).split())
    return {key: value for key, value in found.items() if value}


# --- withdrawals ----------------------------------------------------------------------------------------------------


def _read_withdrawal(document: etree._Element, nhs_number: str, wrapper: Wrapper, interaction: str) -> Withdrawal:
    """Read what the record keeps of a withdrawal that breaks no rule. Spec: 10 §10, §11.4."""
    parts = children(document)
    (event_id,) = attributes_of(parts[_ID], "root")
    reasons = [r for reason in parts[f"{HL7}reason"] for r in reason.iterchildren(f"{HL7}justifyingReason")]
    coded = [c for r in reasons for c in r.iterchildren(_CODE) if c.get("codeSystem") == OID_WITHDRAWAL_REASON]
    targets = attributes_of(
        [i for s in parts.get(f"{HL7}subject", ()) for i in s.iterfind(f"{HL7}messageRef/{_ID}")], "root"
    )
    return Withdrawal(
        ids=MessageIds(wrapper.message_id, interaction),
        nhs_number=nhs_number,
        event_id=event_id.upper(),
        event_type=attributes_of(parts[_CODE], "code")[0],
        effective_time=attributes_of(parts[f"{HL7}effectiveTime"], "value")[0],
        target=targets[0].upper() if targets else None,
        reason=attributes_of(coded, "code")[0],
        reason_text=next((t for r in reasons if (t := text_of(child(r, f"{HL7}text")))), "")
        or "Not Provided in message",
        payload_author=read_person(parts[_AUTHOR][0]),
    )


# --- writing (the client's side) ------------------------------------------------------------------------------------

_ITS = ' ITSVersion="XML_1.0"'
_SUBJECT = b'<subject typeCode="SUBJ" contextConductionInd="false">'


def write_upload(interaction: str, heading: Heading, document: bytes, person: Person | None) -> bytes:
    """Write an upload around ``document``, a self-contained ``GPSummary`` element that is left as it is.

    ``interaction`` is one of the three upload interactions. Spec: 10 §2, §3.
    """
    return write_message(
        interaction, heading, _SUBJECT, document, b"</subject>", person=person, prefix=NAMESPACE, attributes=_ITS
    )


def write_withdrawal(interaction: str, heading: Heading, withdrawal: Withdrawal, person: Person) -> bytes:
    """Write a withdrawal of ``withdrawal.target`` in the name of ``person``. Spec: 10 §10."""
    code = GP_INITIAL_SUMMARY if interaction == WITHDRAW_INITIAL else GP_SUMMARY
    reason = escape(withdrawal.reason)
    payload = (
        '<MessageWithdrawal classCode="ACTN" moodCode="RQO">'
        f'<id root="{escape(withdrawal.event_id)}"/>'
        f'<code code="{code}" codeSystem="{OID_SNOMED}" displayName="{DOCUMENT_TYPES[code]}"/>'
        f'<effectiveTime value="{escape(withdrawal.effective_time)}"/>'
        f'<recordTarget typeCode="RCT"><patient classCode="PAT"><id root="{OID_NHS_NUMBER}" '
        f'extension="{escape(withdrawal.nhs_number)}"/></patient></recordTarget>'
        '<author typeCode="AUT" contextControlCode="OP"><AgentPersonSDS classCode="AGNT">'
        f'<id root="{OID_ROLE_PROFILE}" extension="{escape(person.role_profile_id)}"/>'
        '<agentPersonSDS classCode="PSN" determinerCode="INSTANCE">'
        f'<id root="{OID_USER}" extension="{escape(person.user_id)}"/></agentPersonSDS></AgentPersonSDS></author>'
        '<reason typeCode="RSON" contextConductionInd="true"><justifyingReason classCode="OBS" moodCode="EVN">'
        f'<code code="{reason}" codeSystem="{OID_WITHDRAWAL_REASON}" '
        f'displayName="{escape(WITHDRAWAL_REASONS.get(withdrawal.reason, ""))}"/>'
        f"<text>{escape(withdrawal.reason_text)}</text></justifyingReason></reason>"
        '<subject typeCode="SUBJ"><messageRef classCode="COMPOSITION" moodCode="EVN">'
        f'<id root="{escape(withdrawal.target or "")}"/></messageRef></subject></MessageWithdrawal>'
    )
    return write_message(
        interaction, heading, _SUBJECT, payload.encode(), b"</subject>", person=person, prefix=NAMESPACE
    )
