"""GP Summary uploads and withdrawals: bytes to `Upload` and `Withdrawal`, and back.

On the upload path only the metadata of 10 §11.4 and what the rules look at is read: an entry that cannot be understood
never refuses an upload. The document itself is located in the received bytes, never copied or changed.

Spec: 10 §2-§5, §9.2, §10, §11, §14, §17.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lxml import etree

from openscr.codes import (
    DOCUMENT_TYPES,
    GP_INITIAL_SUMMARY,
    GP_SUMMARY,
    HL7_NS,
    INITIAL_UPLOAD,
    OID_ASID,
    OID_JOB_ROLE,
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
    WITHDRAW,
    WITHDRAW_INITIAL,
    WITHDRAWAL_REASONS,
    WITHDRAWALS,
)
from openscr.errors import GENERAL, WRAPPER_ERRORS, Issue, detail_issue
from openscr.hl7.deviations import find_deviations, presentation_values
from openscr.hl7.reliable_wrapper import check_wrapper
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
    nearest,
    read_person,
    read_wrapper,
    write_message,
)
from openscr.identifiers import has_ten_digits, is_nhs_number
from openscr.spine import AckType, Document, MessageIds, Outcome, Person, Upload, Withdrawal
from openscr.transport.xml import element_span, escape, inherited_declarations, outermost, write_element

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


def _fault(rule: str, key: str, text: str, place: etree._Element) -> Finding:
    return Finding(rule, key, text, Issue("400", text), place)


def check_common(wrapper: Wrapper) -> list[Finding]:
    """Rules C1-C4 of the common stage, in document order (C5 is a wrapper error here). Spec: 10 §11.1."""
    findings: list[Finding] = []
    for agent in [agent for author1 in wrapper.root.iter(_AUTHOR1) for agent in author1.iterchildren(_AGENT_SYSTEM)]:
        ids = [i for i in descend(agent, _SYSTEM_SDS, _ID) if i.get("root") == OID_ASID]
        if len(attributes_of(ids, "extension")) != 1:
            place = nearest(agent, _SYSTEM_SDS, _ID)
            findings.append(_fault("gp-C1", _MISSING, "Agent System SDS ID missing", place))
    for author in wrapper.authors:
        for agent in author.iterchildren(_AGENT_PERSON):
            for rule, path, root, text in _PERSON_RULES:
                ids = [i for i in descend(agent, *path) if i.get("root") == root]
                if len(attributes_of(ids, "extension")) != 1:
                    findings.append(_fault(rule, _MISSING, text, nearest(agent, *path)))
    return findings


_PERSON_RULES = (
    ("gp-C2", (_ID,), OID_ROLE_PROFILE, "Author agent org person role profile ID missing"),
    ("gp-C3", (f"{HL7}agentPersonSDS", _ID), OID_USER, "Author agent person SDS ID missing"),
    ("gp-C4", (f"{HL7}part", f"{HL7}partSDSRole", _ID), OID_JOB_ROLE, "Author agent person Job Role ID missing"),
)


def read_summary_message(root: etree._Element, wrapper: Wrapper, payload: bytes, interaction: str) -> SummaryMessage:
    """Read an upload or withdrawal that was parsed from ``payload``; ``interaction`` is the ``eb:Action``.

    Nothing is raised for a faulty message: every fault is in the result. Spec: 10 §11, §14.
    """
    subject = child(wrapper.control_act, f"{HL7}subject") if wrapper.control_act is not None else None
    name = f"{HL7}MessageWithdrawal" if interaction in WITHDRAWALS else f"{HL7}GPSummary"
    documents = list(subject.iterchildren(name)) if subject is not None else []
    document = documents[0] if len(documents) == 1 else None
    numbers = _nhs_numbers(document)
    nhs_number = numbers[0] if len(numbers) == 1 and has_ten_digits(numbers[0]) else None
    rejected = check_wrapper(wrapper, interaction)
    if rejected:
        return SummaryMessage(wrapper, nhs_number, rejected)
    findings = check_common(wrapper)
    if interaction in UPLOADS:
        request: Upload | Withdrawal | None = _read_upload(document, numbers, wrapper, payload, interaction, findings)
    else:
        request = _read_withdrawal(document, numbers, wrapper, interaction, findings)
    return SummaryMessage(wrapper, nhs_number, (), tuple(findings), None if findings else request)


def check_document(document: etree._Element, payload: bytes) -> tuple[Finding, ...]:
    """Judge a ``GPSummary`` or ``MessageWithdrawal`` that has no interaction around it, parsed from ``payload``.

    The rules of the wrapper and C1-C5 have nothing to look at. Spec: 10 §11.2, §11.3.
    """
    findings: list[Finding] = []
    # What is a wrapper's in a message is the document's own here; no rule of the document asks for more of it.
    wrapper = read_wrapper(document)
    numbers = _nhs_numbers(document)
    if local_name(document) == "GPSummary":
        _read_upload(document, numbers, wrapper, payload, document_interaction(document), findings)
    else:
        _read_withdrawal(document, numbers, wrapper, WITHDRAW, findings)
    return tuple(findings)


def document_interaction(document: etree._Element) -> str:
    """Return the interaction that brings a summary of this type: an initial one has its own."""
    code = child(document, _CODE)
    return INITIAL_UPLOAD if code is not None and code.get("code") == GP_INITIAL_SUMMARY else UPLOAD


def _nhs_numbers(document: etree._Element | None) -> list[str]:
    if document is None:
        return []
    return attributes_of(descend(document, *_RECORD_TARGET), "extension")


def _is_usable_id(root: str) -> bool:
    """Whether an event can be kept under this id: level `spine` asks for no UUID, but for a word of sensible length."""
    return 0 < len(root) <= LONGEST_ID and not any(character.isspace() for character in root)


LONGEST_ID = 64
"""Characters of an event id at most; a UUID has 36."""


def _check_nhs_number(
    numbers: list[str], rule: str, text: str, document: etree._Element, findings: list[Finding]
) -> None:
    """G6 or W6, and the format and check digit, which share one issue. Spec: 10 §14."""
    if len(numbers) == 1 and is_nhs_number(numbers[0]):
        return
    if len(numbers) != 1:
        rule = f"{rule}6"
    else:
        rule, text = f"{rule[:2]}-nhs-number", "NHS number is not valid"
    place = nearest(document, *_RECORD_TARGET)
    findings.append(Finding(rule, _INVALID_DATA, text, _NHS_NUMBER_ISSUE, place))


def _place_of_subject(wrapper: Wrapper) -> etree._Element:
    """Where the document should stand, or stands once too often."""
    return nearest(wrapper.root, f"{HL7}ControlActEvent", f"{HL7}subject")


# --- uploads --------------------------------------------------------------------------------------------------------

_AGENT_NAMES = ("agentOrganizationSDS", "agentOrganization", "agentPersonSDS", "agentPerson")
_NAME_RULE = "A single author Name must be provided"


def _read_upload(
    document: etree._Element | None,
    numbers: list[str],
    wrapper: Wrapper,
    payload: bytes,
    interaction: str,
    findings: list[Finding],
) -> Upload | None:
    if document is None:
        findings.append(_fault("gp-G1", _INVALID_DATA, "hl7:GPSummary root not found", _place_of_subject(wrapper)))
        return None
    parts = children(document)
    ids = attributes_of(parts.get(_ID), "root")
    codes = attributes_of(parts.get(_CODE), "code")
    statuses = attributes_of(parts.get(f"{HL7}statusCode"), "code")
    times = attributes_of(parts.get(f"{HL7}effectiveTime"), "value")
    for rule, values, name, attribute in (
        ("gp-G2", ids, "id", "root"),
        ("gp-G3", codes, "code", "code"),
        ("gp-G4", statuses, "statusCode", "code"),
        ("gp-G5", times, "effectiveTime", "value"),
    ):
        if len(values) != 1 or (values is ids and not _is_usable_id(values[0])):
            text = f"A single hl7:GPSummary/hl7:{name}/@{attribute} must be provided"
            findings.append(_fault(rule, _INVALID_DATA, text, nearest(document, HL7 + name)))
    _check_nhs_number(
        numbers,
        "gp-G",
        "A single nhsNumber should be provided in hl7:GPSummary/hl7:recordTarget/hl7:patient/hl7:id/@extension",
        document,
        findings,
    )
    targets = attributes_of(
        [i for r in parts.get(f"{HL7}replacementOf", ()) for i in r.iterfind(f"{HL7}priorMessageRef/{_ID}")], "root"
    )
    if len(targets) > 1:
        # Spine itself faults only at three; at two it silently forgets both. Spec: 10 §11.2.
        place = nearest(document, f"{HL7}replacementOf", f"{HL7}priorMessageRef", _ID)
        findings.append(_fault("gp-G7", _INVALID_DATA, "zero or one replacementOf targets may be provided", place))
    authors = parts.get(_AUTHOR, [])
    author_times = attributes_of([t for author in authors for t in author.iterchildren(_TIME)], "value")
    if len(author_times) != 1:
        text = "A single hl7:GPSummary/hl7:author/hl7:time/@value must be provided"
        findings.append(_fault("gp-G8", _INVALID_DATA, text, nearest(document, _AUTHOR, _TIME)))
    agents = _check_agents(document, authors, findings)
    if findings:
        return None
    content, refused = _content_of(document)
    presented = presentation_values(document)
    dissent, no_content = _search_presentation(presented)
    if refused:
        dissent = (*dissent, REFUSAL)
    metadata = _author_metadata(agents)
    metadata["author/time"] = author_times[0]
    code = parts[_CODE][0]
    metadata["eventTypeDisplayName"] = code.get("displayName") or ""
    metadata["eventTypeCodeSystem"] = code.get("codeSystem") or ""
    metadata["statusCode"] = statuses[0]
    if targets:
        metadata["targetOfRef"] = targets[0].upper()
    if no_content:
        metadata["noSignificantContent"] = "standard"
    return Upload(
        ids=MessageIds(wrapper.message_id, interaction),
        nhs_number=numbers[0],
        event_id=ids[0].upper(),
        event_type=codes[0],
        effective_time=times[0],
        document=locate_document(document, payload),
        author=standalone_xml(authors[0]),
        nullified=statuses[0] == "nullified",
        replaces=tuple(target.upper() for target in targets),
        content=content,
        dissent=dissent,
        metadata=metadata,
        deviations=find_deviations(wrapper, parts, presented, ids[0], interaction),
    )


def _check_agents(
    document: etree._Element, authors: list[etree._Element], findings: list[Finding]
) -> dict[str, list[etree._Element]]:
    """Rules G9-G13 (W9-W11 use the same counts): which agents the author participation names."""
    agents: dict[str, list[etree._Element]] = {name: [] for name in _AGENT_NAMES}
    role_profiles = 0
    for author in authors:
        for holder in author:
            role_profiles += len(extensions(holder, _ID, OID_ROLE_PROFILE)) if isinstance(holder.tag, str) else 0
            for agent in holder:
                found = agents.get(local_name(agent))
                if found is not None:
                    found.append(agent)
    persons, organisations = agents["agentPersonSDS"], agents["agentOrganizationSDS"]
    if sum(map(len, agents.values())) != 1:
        findings.append(
            _fault(
                "gp-G9",
                _INVALID_DATA,
                "Either a single agentPersonSDS or agentOrganizationSDS must be provided as the event author",
                _holder_of(document),
            )
        )
    identified = sum(
        len(extensions(o, _ID, OID_ODS)) + len(extensions(o, _ID, OID_ORGANISATION_12)) for o in organisations
    )
    if len(organisations) != identified:
        findings.append(
            _fault(
                "gp-G10",
                _INVALID_DATA,
                "A single organizationSDS ID attribute of root codeSystem 1.2.826.0.1285.0.1.10 or "
                "1.2.826.0.1285.0.2.0.109 must be provided",
                nearest(organisations[-1], _ID),
            )
        )
    if len(persons) != role_profiles:
        findings.append(_fault("gp-G11", _INVALID_DATA, ROLE_PROFILE_RULE, nearest(_holder_of(document), _ID)))
    if len(persons) != sum(len(extensions(p, _ID, OID_USER)) for p in persons):
        findings.append(_fault("gp-G12", _INVALID_DATA, USER_RULE, nearest(persons[-1], _ID)))
    for name in ("agentPersonSDS", "agentPerson", "agentOrganizationSDS", "agentOrganization"):
        if agents[name] and sum(1 for agent in agents[name] for _ in agent.iterchildren(_NAME)) != 1:
            findings.append(_fault("gp-G13", _INVALID_DATA, _NAME_RULE, nearest(agents[name][-1], _NAME)))
    return agents


def _holder_of(document: etree._Element) -> etree._Element:
    """Where the agent of the author stands or should stand: the participation's agent element, else the author."""
    author = nearest(document, _AUTHOR)
    holders = [each for each in author.iterchildren("*") if each.tag != _TIME] if author is not document else []
    return holders[-1] if holders else author


ROLE_PROFILE_RULE = (
    "A single author roleProfileID attribute of root codeSystem 1.2.826.0.1285.0.2.0.67 must be provided"
)
USER_RULE = "A single author personSDS ID attribute of root codeSystem 1.2.826.0.1285.0.2.0.65 must be provided"


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


def _author_metadata(agents: Mapping[str, list[etree._Element]]) -> dict[str, str]:
    """Return the author's part of the metadata by report name. Spec: 10 §11.4."""
    found: dict[str, str] = {}
    kind, agent = next((name, elements[0]) for name, elements in agents.items() if elements)
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
                found[f"author/structuredName/{label}"] = (part.text or "").strip()
        else:
            found["author/unstructuredName"] = " ".join(str(_TEXT_OF(name)).split())
    return {key: value for key, value in found.items() if value}


# --- withdrawals ----------------------------------------------------------------------------------------------------


def _read_withdrawal(
    document: etree._Element | None,
    numbers: list[str],
    wrapper: Wrapper,
    interaction: str,
    findings: list[Finding],
) -> Withdrawal | None:
    if document is None:
        findings.append(
            _fault("wd-W1", _INVALID_DATA, "hl7:MessageWithdrawal root not found", _place_of_subject(wrapper))
        )
        return None
    parts = children(document)
    ids = attributes_of(parts.get(_ID), "root")
    codes = attributes_of(parts.get(_CODE), "code")
    times = attributes_of(parts.get(f"{HL7}effectiveTime"), "value")
    for rule, values, name, attribute in (
        ("wd-W3", ids, "id", "root"),
        ("wd-W4", codes, "code", "code"),
        ("wd-W5", times, "effectiveTime", "value"),
    ):
        if len(values) != 1 or (values is ids and not _is_usable_id(values[0])):
            rule_text = f"A single hl7:MessageWithdrawal/hl7:{name}/@{attribute} must be provided"
            findings.append(_fault(rule, _INVALID_DATA, rule_text, nearest(document, HL7 + name)))
    _check_nhs_number(
        numbers,
        "wd-W",
        "A single nhsNumber should be provided in hl7:MessageWithdrawal/hl7:recordTarget/hl7:patient/hl7:id/@extension",
        document,
        findings,
    )
    reasons = [r for reason in parts.get(f"{HL7}reason", ()) for r in reason.iterfind(f"{HL7}justifyingReason")]
    coded = [c for r in reasons for c in r.iterfind(_CODE) if c.get("codeSystem") == OID_WITHDRAWAL_REASON]
    reason_codes = attributes_of(coded, "code")
    if len(reason_codes) != 1:
        findings.append(
            _fault(
                "wd-W7",
                _INVALID_DATA,
                f"A single justifyingReason code of codeSystem {OID_WITHDRAWAL_REASON} should be provided in "
                "hl7:MessageWithdrawal/hl7:reason/hl7:justifyingReason/hl7:code",
                nearest(document, f"{HL7}reason", f"{HL7}justifyingReason", _CODE),
            )
        )
    targets = attributes_of(
        [i for s in parts.get(f"{HL7}subject", ()) for i in s.iterfind(f"{HL7}messageRef/{_ID}")], "root"
    )
    if len(targets) > 1:
        place = nearest(document, f"{HL7}subject", f"{HL7}messageRef", _ID)
        findings.append(_fault("wd-W8", _INVALID_DATA, "zero or one replacementOf targets may be provided", place))
    authors = parts.get(_AUTHOR, [])
    persons = [p for a in authors for holder in a for p in holder if local_name(p) == "agentPersonSDS"]
    roles = [i for a in authors for holder in a for i in extensions(holder, _ID, OID_ROLE_PROFILE)]
    if len(persons) != 1:
        rule_text = "A single agentPersonSDS must be provided as the event author"
        findings.append(_fault("wd-W9", _INVALID_DATA, rule_text, _holder_of(document)))
    if len(persons) != len(roles):
        findings.append(_fault("wd-W10", _INVALID_DATA, ROLE_PROFILE_RULE, nearest(_holder_of(document), _ID)))
    if len(persons) != sum(len(extensions(p, _ID, OID_USER)) for p in persons):
        findings.append(_fault("wd-W11", _INVALID_DATA, USER_RULE, nearest(persons[-1], _ID)))
    if findings:
        return None
    text = next((t for r in reasons if (t := r.findtext(f"{HL7}text"))), "") or "Not Provided in message"
    return Withdrawal(
        ids=MessageIds(wrapper.message_id, interaction),
        nhs_number=numbers[0],
        event_id=ids[0].upper(),
        event_type=codes[0],
        effective_time=times[0],
        target=targets[0].upper() if targets else None,
        reason=reason_codes[0],
        reason_text=text,
        payload_author=read_person(authors[0]),
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
