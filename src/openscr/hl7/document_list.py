"""PSIS document answers: metadata of documents written and read, and the one document with its content.

The list (``160102``, ``160108``, ``160110``) and the single document (``160104``) are the same tree; the latter has the
stored document spliced in behind its metadata.

Spec: 20 §8, §13, §16.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from lxml import etree

from openscr.codes import (
    DOCUMENT_QUERIES,
    DOCUMENT_TYPES,
    EVENT_STATUSES,
    NPFITLC_NS,
    OID_DATA_QUALITY,
    OID_EVENT_STATUS,
    OID_MESSAGE_TYPE,
    OID_NHS_NUMBER,
    OID_ODS,
    OID_QUERY_ACT,
    OID_ROLE_PROFILE,
    OID_SNOMED,
    OID_USER,
)
from openscr.errors import UnreadableMessage
from openscr.hl7.acknowledgement import read_outcome
from openscr.hl7.psis import query_ack
from openscr.hl7.wrapper import HL7, Heading, local_name, write_acknowledgement_element, write_message
from openscr.identifiers import LONDON, hl7_timestamp
from openscr.spine import (
    CodedValue,
    DocumentAuthor,
    DocumentListOutcome,
    DocumentOutcome,
    EventStatus,
    StoredDocument,
)
from openscr.transport.xml import escape, text_of, write_element

_OBSERVATION: Final = 'classCode="OBS" moodCode="EVN"'


def write_documents(
    interaction: str, heading: Heading, answer: DocumentListOutcome | DocumentOutcome, reference: str, prefix: str = ""
) -> bytes:
    """Write the accepted answer to a request of the document family; without documents it says ``NF``.

    ``prefix`` is the namespace declaration of a message that travels without an envelope that has it. Spec: 20 §13, §8.
    """
    documents: tuple[StoredDocument, ...]
    if isinstance(answer, DocumentOutcome):
        documents = (answer.document,) if answer.document is not None else ()
        content = answer.content
    else:
        documents, content = answer.documents, b""
    pieces: list[bytes] = []
    if documents:
        pieces.append(
            f'<subject typeCode="SUBJ"><DocumentCollection xmlns:npfitlc="{NPFITLC_NS}" {_OBSERVATION}>'
            f"{_act_code('DCOL')}".encode()
        )
        for document in documents:
            pieces.append(f'<component typeCode="COMP">{_open_metadata(document)}'.encode())
            if content:
                pieces += (b'<component7 typeCode="COMP">', content, b"</component7>")
            pieces.append(b"</pSISDocMetaData></component>")
        state = f'<careRecordState {_OBSERVATION}>{_act_code("CRST")}<value code="NORMAL"/></careRecordState>'
        pieces.append(
            f'<component12 typeCode="COMP">{state}</component12><recordTarget typeCode="RCT">'
            f'<patient classCode="PAT"><id root="{OID_NHS_NUMBER}" extension="{escape(answer.nhs_number)}"/></patient>'
            "</recordTarget></DocumentCollection></subject>".encode()
        )
    pieces.append(query_ack("OK" if documents else "NF").encode())
    return write_message(
        DOCUMENT_QUERIES[interaction],
        heading,
        *pieces,
        acknowledgement=write_acknowledgement_element("AA", reference),
        prefix=prefix,
    )


def _act_code(code: str) -> str:
    return f'<code code="{code}" codeSystem="{OID_QUERY_ACT}"/>'


def _act(component: str, name: str, code: str, value: str) -> str:
    return (
        f'<{component} typeCode="COMP"><{name} {_OBSERVATION}>{_act_code(code)}<value {value}/></{name}></{component}>'
    )


def _open_metadata(document: StoredDocument) -> str:
    """Write all that is said of a document, but for the end of its element: its content may follow."""
    status, effective = int(document.status), f'<effectiveTime value="{escape(document.effective_time)}"/>'
    replaced = withdrawn = set_id = ""
    if document.replaced_by:
        replaced = _act("component2", "replacingDocUUID", "RPLD", f'root="{escape(document.replaced_by)}"')
    if document.withdrawn_by:
        withdrawn = _act("component4", "withdrawingDocUUID", "WTHD", f'root="{escape(document.withdrawn_by)}"')
    if document.set_id:
        set_id = f'<setId root="{escape(document.set_id)}"/>'
    known = f'code="{status}" codeSystem="{OID_EVENT_STATUS}" displayName="{EVENT_STATUSES[status]}"'
    size, quality = f'value="{document.size}"', f'code="NORMAL" codeSystem="{OID_DATA_QUALITY}"'
    title = document.title or DOCUMENT_TYPES.get(document.event_type, "")
    name = f' displayName="{DOCUMENT_TYPES[document.event_type]}"' if document.event_type in DOCUMENT_TYPES else ""
    return (
        f'<pSISDocMetaData {_OBSERVATION}><availabilityTime value="{hl7_timestamp(document.stored_at)}"/>'
        f'{_act_code("PDMD")}{effective}<id root="{escape(document.event_id)}"/>'
        f'<npfitlc:messageType root="{OID_MESSAGE_TYPE}" extension="{escape(document.payload_id)}"/>'
        f"{_act('component1', 'documentState', 'DCST', known)}"
        f"{_act('component14', 'estDocSize', 'ESTD', size)}{replaced}"
        '<component3 typeCode="COMP"><documentMetaData classCode="DOCCLIN" moodCode="EVN">'
        f'<code code="{escape(document.event_type)}" codeSystem="{OID_SNOMED}"{name}/>{effective}{set_id}'
        f"<title>{escape(title)}</title>{_write_author(document.author)}</documentMetaData></component3>{withdrawn}"
        f"{_act('component5', 'documentDQState', 'DQST', quality)}"
    )


def _write_author(author: DocumentAuthor) -> str:
    written = ""
    if author.job_role is not None:
        # A code system that nobody named is left out: an empty one is no code system.
        told = {"codeSystem": author.job_role.system, "displayName": author.job_role_name}
        more = "".join(f' {name}="{escape(value)}"' for name, value in told.items() if value)
        written += f'<code code="{escape(author.job_role.code)}"{more}/>'
    for root, extension in ((OID_USER, author.user_id), (OID_ROLE_PROFILE, author.role_profile_id)):
        if extension:
            written += f'<id root="{root}" extension="{escape(extension)}"/>'
    if author.name:
        parts = "".join(f"<{tag}>{escape(text)}</{tag}>" if tag else escape(text) for tag, text in author.name)
        written += (
            f'<agentPlayingAuthor classCode="PSN" determinerCode="INSTANCE"><name>{parts}</name></agentPlayingAuthor>'
        )
    if author.organisation:
        name = escape(author.organisation_name or author.organisation)
        written += (
            '<representedScopingOrg classCode="ORG" determinerCode="INSTANCE">'
            f'<id root="{OID_ODS}" extension="{escape(author.organisation)}"/><name>{name}</name>'
            "</representedScopingOrg>"
        )
    return (
        '<author2 typeCode="AUT" contextControlCode="AP"><documentAuthor classCode="AGNT">'
        f"{written}</documentAuthor></author2>"
    )


# --- the client's side ----------------------------------------------------------------------------------------------


def read_document_list_answer(root: etree._Element, nhs_number: str) -> DocumentListOutcome:
    """Read a document list, "nothing found" or a refusal. Raises: `UnreadableMessage`. Spec: 20 §16."""
    outcome, _ = read_outcome(root)
    return DocumentListOutcome(outcome, nhs_number, tuple(_read_metadata(each) for each in _entries(root)))


def read_document_answer(root: etree._Element, nhs_number: str) -> DocumentOutcome:
    """Read a document with its content, "nothing found" or a refusal. Raises: `UnreadableMessage`. Spec: 20 §16."""
    outcome, _ = read_outcome(root)
    entry = next(iter(_entries(root)), None)
    if entry is None:
        return DocumentOutcome(outcome, nhs_number)
    holder = entry.find(f"{HL7}component7")
    content = next((each for each in holder if isinstance(each.tag, str)), None) if holder is not None else None
    if content is None:
        raise UnreadableMessage("the answer has no document")
    return DocumentOutcome(outcome, nhs_number, _read_metadata(entry), write_element(content))


def _entries(root: etree._Element) -> Iterable[etree._Element]:
    act = root.find(f"{HL7}ControlActEvent/{HL7}subject/{HL7}DocumentCollection")
    return act.iterfind(f"{HL7}component/{HL7}pSISDocMetaData") if act is not None else ()


def _read_metadata(entry: etree._Element) -> StoredDocument:
    def attribute(path: str, name: str, within: etree._Element = entry) -> str:
        element = within.find("/".join(HL7 + step for step in path.split("/")))
        return (element.get(name) or "") if element is not None else ""

    message_type = entry.find(f"{{{NPFITLC_NS}}}messageType")
    facts = entry.find(f"{HL7}component3/{HL7}documentMetaData")
    if facts is None:
        raise UnreadableMessage("a document has no metadata")
    try:
        status = EventStatus(int(attribute("component1/documentState/value", "code")))
        stored_at = datetime.strptime(attribute("availabilityTime", "value")[:14], "%Y%m%d%H%M%S")
        size = int(attribute("component14/estDocSize/value", "value") or 0)
    except ValueError:
        raise UnreadableMessage("a document has no readable status, size or time of storing") from None
    return StoredDocument(
        event_id=attribute("id", "root"),
        event_type=attribute("code", "code", facts),
        payload_id=(message_type.get("extension") or "") if message_type is not None else "",
        status=status,
        stored_at=stored_at.replace(tzinfo=LONDON),
        effective_time=attribute("effectiveTime", "value", facts) or attribute("effectiveTime", "value"),
        size=size,
        title=text_of(facts.find(f"{HL7}title")).strip(),
        replaced_by=attribute("component2/replacingDocUUID/value", "root") or None,
        withdrawn_by=attribute("component4/withdrawingDocUUID/value", "root") or None,
        set_id=attribute("setId", "root", facts) or None,
        author=_read_author(facts.find(f"{HL7}author2/{HL7}documentAuthor")),
    )


def _read_author(author: etree._Element | None) -> DocumentAuthor:
    if author is None:
        return DocumentAuthor()
    ids = {each.get("root"): each.get("extension") or "" for each in author.iterchildren(f"{HL7}id")}
    code = author.find(f"{HL7}code")
    name = author.find(f"{HL7}agentPlayingAuthor/{HL7}name")
    organisation = author.find(f"{HL7}representedScopingOrg/{HL7}id")
    return DocumentAuthor(
        user_id=ids.get(OID_USER, ""),
        role_profile_id=ids.get(OID_ROLE_PROFILE, ""),
        job_role=CodedValue(code.get("code") or "", code.get("codeSystem") or "") if code is not None else None,
        job_role_name=(code.get("displayName") or "") if code is not None else "",
        name=_read_name(name),
        # A builder of Spine's writes the organisation as a third id of the author.
        organisation=(organisation.get("extension") or "") if organisation is not None else ids.get(OID_ODS, ""),
        organisation_name=text_of(author.find(f"{HL7}representedScopingOrg/{HL7}name")).strip(),
    )


def _read_name(name: etree._Element | None) -> tuple[tuple[str, str], ...]:
    if name is None:
        return ()
    parts = [(local_name(part), text_of(part).strip()) for part in name.iterchildren("*")]
    whole = text_of(name).strip()
    return tuple(parts) or ((("", whole),) if whole else ())
