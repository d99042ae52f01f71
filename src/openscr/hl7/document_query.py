"""PSIS document queries: requests read and judged, and written for our own client.

The parameters of this family stand text first, those of the event family value first; either order is read. Both
spellings of the set, ``setId`` (the schema's) and ``setID`` (Spine's rules), are read.

Spec: 20 §4, §6, §9.2, §12.
"""

from lxml import etree

from openscr.codes import DOCUMENT_LIST_BY_TYPE, DOCUMENT_RETRIEVALS, OID_DISSENT_OVERRIDE, OID_NHS_NUMBER
from openscr.hl7.psis import HeaderFacts, QueryMessage, queried_numbers, read_override, single_query
from openscr.hl7.rules.documents import BARE_QUERY, DOCUMENT_PARAMETERS
from openscr.hl7.rules.queries import QUERIED_PATIENT, QUERY_WRAPPER
from openscr.hl7.wrapper import HL7, NAMESPACE, Heading, Wrapper, attributes_of, write_message
from openscr.identifiers import addressed_number, is_hl7_time
from openscr.spine import (
    CodedValue,
    DocumentFilter,
    DocumentListQuery,
    DocumentQuery,
    MessageIds,
    Person,
    TimeRange,
)
from openscr.transport.xml import escape

_VALUE = f"{HL7}value"
_SET_IDS = (f"{HL7}setId", f"{HL7}setID")


class _Filter:
    """The ``filterParameters`` of a request, taken apart; nothing is judged here."""

    def __init__(self, query: etree._Element) -> None:
        filters = list(query.iterchildren(f"{HL7}filterParameters"))
        self.sets = [e for holder in filters for e in holder.iterchildren(*_SET_IDS)]
        self.types = [e for holder in filters for e in holder.iterchildren(f"{HL7}documentType")]
        self.dates = [e for holder in filters for e in holder.iterchildren(f"{HL7}date")]
        self.documents = [e for holder in filters for e in holder.iterchildren(f"{HL7}documentID")]
        self.cre_types = [e for holder in filters for e in holder.iterchildren(f"{HL7}cREType")]

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
        values = [value for holder in self.dates for value in holder.iterchildren(_VALUE)]
        elements = [element for value in values for element in value.iterchildren(f"{HL7}{name}")]
        stated = (*attributes_of(elements, "value"), *attributes_of(values, name))
        return next((time for time in stated if is_hl7_time(time)), "")


def _attribute(holders: list[etree._Element], name: str) -> str:
    values = [value for holder in holders for value in holder.iterchildren(_VALUE)]
    return next((stated for stated in attributes_of(values, name) if stated), "")


# --- reading --------------------------------------------------------------------------------------------------------


def read_document_query(wrapper: Wrapper, header: HeaderFacts | None, interaction: str) -> QueryMessage:
    """Read a request of the document family that came as ``interaction``. Nothing is raised. Spec: 20 §4, §12.

    ``header`` is that of its SOAP envelope, none over ebXML: there the message agrees with itself, and one without an
    id can be answered all the same.
    """
    facts = header or HeaderFacts(interaction, wrapper.receiver_asid, wrapper.sender_asid)
    findings = QUERY_WRAPPER.judge(wrapper.root, facts.variables)
    element = single_query(wrapper)
    if element is not None:
        findings += DOCUMENT_PARAMETERS[interaction].judge_document(element)
    unanswerable = None
    if header is None:
        findings += BARE_QUERY.judge(wrapper.root)
    elif not wrapper.message_id:
        unanswerable = f"/SOAP:Envelope/SOAP:Body/hl7:{wrapper.name}/hl7:id"
    if element is None:
        return QueryMessage(wrapper, None, tuple(findings), unanswerable)
    numbers = queried_numbers(element)
    known = addressed_number(numbers)
    findings = findings or QUERIED_PATIENT.judge_document(element)
    if findings:
        return QueryMessage(wrapper, known, tuple(findings), unanswerable)
    query = _Filter(element)
    override = read_override(element)
    ids = MessageIds(wrapper.message_id, interaction)
    request: DocumentListQuery | DocumentQuery
    if interaction in DOCUMENT_RETRIEVALS:
        request = DocumentQuery(ids, numbers[0], query.document_id.upper(), query.set_id, override)
    else:
        date = TimeRange(query.bound("low"), query.bound("high")) if query.dates else None
        wanted = DocumentFilter(
            document_type=query.coded(query.types) if query.types else None,
            cre_type=query.coded(query.cre_types) if interaction == DOCUMENT_LIST_BY_TYPE else None,
            date=date,
            set_id=query.set_id or None,
        )
        request = DocumentListQuery(ids, numbers[0], override, wanted)
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
