"""PSIS document queries: requests read and judged, and written for our own client.

The parameters of this family stand text first, those of the event family value first; either order is read. Both
spellings of the set, ``setId`` (the schema's) and ``setID`` (Spine's rules), are read.

Spec: 20 §4, §6, §9.2, §12.
"""

import re
from collections.abc import Iterable
from typing import Final

from lxml import etree

from openscr.codes import (
    DISSENT_OVERRIDES,
    DOCUMENT_LIST_BY_DATE,
    DOCUMENT_LIST_BY_TYPE,
    DOCUMENT_RETRIEVALS,
    OID_ASID,
    OID_DISSENT_OVERRIDE,
    OID_NHS_NUMBER,
)
from openscr.errors import detail_issue
from openscr.hl7.psis import HeaderFacts, QueryMessage, check_query_wrapper
from openscr.hl7.wrapper import (
    HL7,
    NAMESPACE,
    Finding,
    Heading,
    Wrapper,
    attributes_of,
    child,
    count_person_ids,
    nearest,
    system_ids,
    write_message,
)
from openscr.identifiers import has_ten_digits, is_nhs_number
from openscr.spine import (
    CodedValue,
    DissentOverride,
    DocumentFilter,
    DocumentListQuery,
    DocumentQuery,
    MessageIds,
    Person,
    TimeRange,
)
from openscr.transport.xml import escape

_MISSING = "ErrorBase1733.MANDATORY_FIELD_MISSING"
_FILTER_MISSING = "ErrorBase1733.MANDATORY_FILTER_PARAMETER_MISSING"
_NOT_TOGETHER = "ErrorBase1733.SET_ID_NOT_ALLOWED_WITH_OTHER_PARAMS"

_VALUE = f"{HL7}value"
_FILTER = f"{HL7}filterParameters"
_OVERRIDE = f"{HL7}dissentOverride"
_NUMBER = f"{HL7}nHSNumber"
_SET_IDS = (f"{HL7}setId", f"{HL7}setID")
_TYPE = f"{HL7}documentType"
_DATE = f"{HL7}date"
_DOCUMENT_ID = f"{HL7}documentID"
_CRE_TYPE = f"{HL7}cREType"
_TIME: Final = re.compile(r"[0-9]{4}(?:[0-9]{2}){0,5}(?:\.[0-9]+)?(?:[+-][0-9]{2,4})?\Z")


class _Query:
    """The ``query`` of a request, taken apart; nothing is judged here."""

    def __init__(self, query: etree._Element) -> None:
        self.element = query
        self.overrides = _values(query.iterchildren(_OVERRIDE), "codeSystem", OID_DISSENT_OVERRIDE)
        self.override_code = next((code for code in attributes_of(self.overrides, "code") if code), "")
        numbers = _values(query.iterchildren(_NUMBER), "root", OID_NHS_NUMBER)
        self.numbers = [value for value in numbers if value.get("extension") is not None]
        filters = list(query.iterchildren(_FILTER))
        self.sets = [e for holder in filters for e in holder.iterchildren(*_SET_IDS)]
        self.types = [e for holder in filters for e in holder.iterchildren(_TYPE)]
        self.dates = [e for holder in filters for e in holder.iterchildren(_DATE)]
        self.documents = [e for holder in filters for e in holder.iterchildren(_DOCUMENT_ID)]
        self.cre_types = [e for holder in filters for e in holder.iterchildren(_CRE_TYPE)]

    @property
    def override(self) -> DissentOverride:
        """The override and why it is claimed."""
        stated = next(value for value in self.overrides if value.get("code"))
        return DissentOverride(self.override_code, (stated.findtext(f"{HL7}originalText") or "").strip())

    @property
    def set_id(self) -> str:
        """The set, empty when none is named."""
        return _attribute(self.sets, "root")

    @property
    def document_id(self) -> str:
        """The document, empty when none is named."""
        return _attribute(self.documents, "root")

    def coded(self, holders: list[etree._Element]) -> CodedValue:
        """Return the code of a parameter."""
        return CodedValue(_attribute(holders, "code"), _attribute(holders, "codeSystem"))

    def bound(self, name: str) -> str:
        """Return one end of the date: from the element that the schema knows, or the attribute of one rule file."""
        for value in (v for holder in self.dates for v in holder.iterchildren(_VALUE)):
            element = child(value, f"{HL7}{name}")
            stated = (element.get("value") if element is not None else None) or value.get(name)
            if stated:
                return stated
        return ""

    def place(self, *tags: str) -> etree._Element:
        """Return where a fault shows: the element on this path, or the nearest one above that is there."""
        return nearest(self.element, *tags)


def _values(holders: Iterable[etree._Element], attribute: str, wanted: str) -> list[etree._Element]:
    return [v for holder in holders for v in holder.iterchildren(_VALUE) if v.get(attribute) == wanted]


def _attribute(holders: list[etree._Element], name: str) -> str:
    values = [value for holder in holders for value in holder.iterchildren(_VALUE)]
    return next((stated for stated in attributes_of(values, name) if stated), "")


# --- judging --------------------------------------------------------------------------------------------------------


def _fault(rule: str, key: str, field: str, place: etree._Element) -> Finding:
    return Finding(rule, key, "", detail_issue("35160", field=field), place)


def _check_parameters(query: _Query) -> list[Finding]:
    """Rules Q1 and Q2. Spec: 20 §12, §6."""
    found = []
    if query.override_code not in DISSENT_OVERRIDES:
        key = f"{_MISSING}[checkQuery.missingDissentOverride]"
        found.append(_fault("psis-Q1", key, "DissentOverride", query.place(_OVERRIDE, _VALUE)))
    if len(query.numbers) != 1:
        key = f"{_MISSING}[checkQuery.missingNhsNumber]"
        found.append(_fault("psis-Q2", key, "NHS Number", query.place(_NUMBER, _VALUE)))
    return found


def _check_filter(query: _Query, interaction: str) -> list[Finding]:
    """Rules F1 to F7, as far as they are about this request. Spec: 20 §9.2, §12."""
    found = []
    retrieval = interaction in DOCUMENT_RETRIEVALS
    if retrieval and len(query.documents) + len(query.sets) != 1:
        field = "SetId" if query.documents or query.sets else "DocumentID"
        found.append(_fault("psis-F2", _NOT_TOGETHER, field, query.place(_FILTER)))
    elif not retrieval and query.sets and (len(query.sets) > 1 or query.types or query.dates):
        key = f"{_NOT_TOGETHER}[checkFilterParameters.invalidCombination]"
        found.append(_fault("psis-F1", key, "SetId", query.sets[-1]))
    if query.sets and not query.set_id:
        key = f"{_FILTER_MISSING}[checkQuerySetID.missingSetID]"
        found.append(_fault("psis-F3", key, "SetId", nearest(query.sets[0], _VALUE)))
    if query.types:
        label = f"{_FILTER_MISSING}[checkQueryDocumentType.missingDocumentTypeCode"
        stated = query.coded(query.types)
        for rule, value, key in (("psis-F4", stated.code, "]"), ("psis-F5", stated.system, "System]")):
            if not value:
                found.append(_fault(rule, label + key, "DocumentType", nearest(query.types[0], _VALUE)))
    if query.dates or interaction == DOCUMENT_LIST_BY_DATE:
        found += _check_date(query)
    if query.documents and not query.document_id:
        key = f"{_FILTER_MISSING}[checkQueryDocumentID.missingDocumentID]"
        found.append(_fault("psis-F7", key, "DocumentID", nearest(query.documents[0], _VALUE)))
    if interaction == DOCUMENT_LIST_BY_TYPE and not query.coded(query.cre_types).code:
        found.append(_fault("psis-cre-type", _FILTER_MISSING, "CREType", query.place(_FILTER, _CRE_TYPE, _VALUE)))
    return found


def _check_date(query: _Query) -> Iterable[Finding]:
    for name, label in (("low", "missingLow"), ("high", "missingHigh")):
        if not _TIME.match(query.bound(name)):
            key = f"{_FILTER_MISSING}[checkQueryDocumentDate.{label}]"
            yield _fault("psis-F6", key, "Date", query.place(_FILTER, _DATE, _VALUE))


def _check_bare(wrapper: Wrapper) -> list[Finding]:
    """Rule P1, for payloads that came without a SOAP header: what the common stage asks of participants."""
    found = []
    if any(0 in count_person_ids(author) for author in wrapper.authors):
        found.append(_fault("psis-P1", _MISSING, "Author", wrapper.authors[-1]))
    for system in wrapper.systems:
        if sum(each.get("root") == OID_ASID for each in system_ids(system)) != 1:
            found.append(_fault("psis-P1", _MISSING, "Author System", system))
    return found


# --- reading --------------------------------------------------------------------------------------------------------


def read_document_query(wrapper: Wrapper, header: HeaderFacts | None, interaction: str) -> QueryMessage:
    """Read a request of the document family that came as ``interaction``. Nothing is raised. Spec: 20 §4, §12.

    ``header`` is that of its SOAP envelope, none over ebXML: there the message agrees with itself, and one without an
    id can be answered all the same.
    """
    bare = header is None
    facts = header or HeaderFacts(interaction, wrapper.receiver_asid, wrapper.sender_asid)
    queries = list(wrapper.control_act.iterchildren(f"{HL7}query")) if wrapper.control_act is not None else []
    element = queries[0] if len(queries) == 1 and len(queries[0]) else None
    findings = check_query_wrapper(wrapper, facts, element)
    unanswerable = None
    if not bare and not wrapper.message_id:
        unanswerable = f"/SOAP:Envelope/SOAP:Body/hl7:{wrapper.name}/hl7:id"
    query = _Query(element) if element is not None else None
    if query is not None:
        findings += _check_parameters(query)
        findings += _check_filter(query, interaction)
    if bare:
        findings += _check_bare(wrapper)
    if query is None:
        return QueryMessage(wrapper, None, tuple(findings), unanswerable)
    number = query.numbers[0].get("extension") or "" if len(query.numbers) == 1 else ""
    known = number if has_ten_digits(number) else None
    if not findings and not is_nhs_number(number):
        findings.append(_fault("psis-nhs-number", _MISSING, "NHS Number", query.numbers[0]))
    if findings:
        return QueryMessage(wrapper, known, tuple(findings), unanswerable)
    ids = MessageIds(wrapper.message_id, interaction)
    request: DocumentListQuery | DocumentQuery
    if interaction in DOCUMENT_RETRIEVALS:
        request = DocumentQuery(ids, number, query.document_id.upper(), query.set_id, query.override)
    else:
        date = TimeRange(query.bound("low"), query.bound("high")) if query.dates else None
        wanted = DocumentFilter(
            document_type=query.coded(query.types) if query.types else None,
            cre_type=query.coded(query.cre_types) if interaction == DOCUMENT_LIST_BY_TYPE else None,
            date=date,
            set_id=query.set_id or None,
        )
        request = DocumentListQuery(ids, number, query.override, wanted)
    return QueryMessage(wrapper, known, (), None, request)


# --- the client's side ----------------------------------------------------------------------------------------------


def write_document_query(heading: Heading, query: DocumentListQuery | DocumentQuery, person: Person | None) -> bytes:
    """Write a request of the document family as the schema wants it: parameters in its order, text before value.

    Spec: 20 §4.1, §4.2, §4.3.
    """
    override = query.override
    text = f"<originalText>{escape(override.text)}</originalText>" if override.text else ""
    code = f'code="{escape(override.code)}" codeSystem="{OID_DISSENT_OVERRIDE}"'
    written = (
        "<query><dissentOverride><semanticsText>DissentOverride</semanticsText>"
        f"<value {code}{f'>{text}</value>' if text else '/>'}</dissentOverride>"
        f"<filterParameters>{_write_filter(query)}</filterParameters>"
        "<nHSNumber><semanticsText>NHSNumber</semanticsText>"
        f'<value root="{OID_NHS_NUMBER}" extension="{escape(query.nhs_number)}"/></nHSNumber></query>'
    )
    return write_message(query.ids.interaction, heading, written.encode(), person=person, prefix=NAMESPACE)


def _write_filter(query: DocumentListQuery | DocumentQuery) -> str:
    if isinstance(query, DocumentQuery):
        if query.document_id:
            return _parameter("documentID", f'<value root="{escape(query.document_id)}"/>')
        return _parameter("setId", f'<value root="{escape(query.set_id)}"/>')
    wanted = query.wanted
    written = ""
    if wanted.cre_type is not None:
        written += _parameter("cREType", _write_code(wanted.cre_type))
    if wanted.date is not None:
        bounds = f'<low value="{escape(wanted.date.low)}"/><high value="{escape(wanted.date.high)}"/>'
        written += _parameter("date", f"<value>{bounds}</value>")
    if wanted.document_type is not None:
        written += _parameter("documentType", _write_code(wanted.document_type))
    if wanted.set_id is not None:
        written += _parameter("setId", f'<value root="{escape(wanted.set_id)}"/>')
    return written


def _write_code(value: CodedValue) -> str:
    return f'<value code="{escape(value.code)}" codeSystem="{escape(value.system)}"/>'


def _parameter(name: str, value: str) -> str:
    return f"<{name}><semanticsText>{name[0].upper()}{name[1:]}</semanticsText>{value}</{name}>"
