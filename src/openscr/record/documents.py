"""Documents as the document family of queries sees them: which ones a filter wants, and what is said of each.

Decisions here are pure. The headings of a document are not among the stored metadata: they are looked for in the
documents themselves, one at a time, so that every document that was ever stored can be found by them.

Spec: 20 §4.4, §8, §13; 10 §11.4.
"""

from collections.abc import Sequence
from typing import Final

from openscr.codes import DOCUMENT_TYPES, OID_ODS, OID_SNOMED
from openscr.directory.model import Directory
from openscr.hl7.wrapper import HL7
from openscr.record.decision import Decision, refuse
from openscr.record.viewing import show
from openscr.spine import CodedValue, DocumentAuthor, DocumentFilter, DocumentQuery, StoredDocument, TimeRange
from openscr.store.interface import EventRow, Transaction
from openscr.transport.xml import read_xml

_START: Final = "00000101000000"
_END: Final = "99991231235959"

LONGEST_CRITERION: Final = 64
"""Characters of each thing that was asked for which the audit keeps."""


def covers(wanted: TimeRange, effective_time: str) -> bool:
    """Whether an HL7 time lies in a range. Each time means its whole period: its first second must lie inside.

    Spec: 20 §4.4.
    """
    return _filled(wanted.low, _START) <= _filled(effective_time, _START) <= _filled(wanted.high, _END)


def _filled(time: str, rest: str) -> str:
    """Fill a time of any precision up to its second; zones and fractions count for nothing, as everywhere here."""
    digits = time[:14]
    digits = digits[: next((n for n, c in enumerate(digits) if c not in "0123456789"), len(digits))]
    return digits + rest[len(digits) :]


def matching(events: Sequence[EventRow], wanted: DocumentFilter) -> list[EventRow]:
    """Return the documents that fit everything but the heading, newest first. Spec: 20 §4.4, §13."""
    found = [event for event in events if _fits(event, wanted)]
    found.reverse()
    # Sorting keeps the order of equals: of two stored in one instant the later one is the newer.
    return sorted(found, key=lambda event: event.stored_at, reverse=True)


def criteria_of(wanted: DocumentFilter) -> dict[str, str]:
    """Return what was asked for, for the audit: with no result it is all that tells of the question. Spec: 35 §7."""
    criteria = {
        "document_type": wanted.document_type.code if wanted.document_type is not None else "",
        "cre_type": wanted.cre_type.code if wanted.cre_type is not None else "",
        "date": f"{wanted.date.low}-{wanted.date.high}" if wanted.date is not None else "",
        "set_id": wanted.set_id or "",
    }
    return {name: value[:LONGEST_CRITERION] for name, value in criteria.items() if value}


def _fits(event: EventRow, wanted: DocumentFilter) -> bool:
    if wanted.document_type is not None and wanted.document_type != CodedValue(
        event.event_type, event.metadata.get("eventTypeCodeSystem") or OID_SNOMED
    ):
        return False
    if wanted.date is not None and not covers(wanted.date, event.effective_time):
        return False
    return wanted.set_id is None or _is_of_set(event, wanted.set_id)


def _is_of_set(event: EventRow, set_id: str) -> bool:
    """Whether a document belongs to a set. GP Summaries have none, and nothing else is stored today. Spec: 20 §4.4."""
    stated = event.metadata.get("setId")
    return stated is not None and stated.upper() == set_id.upper()


PORTION: Final = 1_000_000
"""Bytes of documents that are looked into in one transaction: a patient with a thousand of them holds nobody up."""


async def note_headings(
    transaction: Transaction, events: Sequence[EventRow], heading: CodedValue, known: dict[str, bool]
) -> bool:
    """Note in ``known``, by event id, which documents have this heading; returns whether that is known of all.

    If not, a portion of them was looked at, and the rest is for another transaction: documents never change. No two of
    them are in memory at once. Raises: `StoreError`. Spec: 20 §4.4 ``cREType``.
    """
    size = 0
    for event in events:
        if event.event_id in known:
            continue
        if size >= PORTION:
            return False
        known[event.event_id] = has_heading(await transaction.read_document(event), heading)
        size += event.document_length
    return True


def has_heading(document: bytes, heading: CodedValue) -> bool:
    """Whether a document has a ``pertinentCREType`` of this code; a system counts where one is asked for."""
    # Most documents are told apart without being parsed; a code of digits may hide in character references only.
    if heading.code.isdecimal() and heading.code.encode() not in document and b"&#" not in document:
        return False
    path = f"{HL7}pertinentInformation2/{HL7}pertinentCREType/{HL7}code"
    return any(
        code.get("code") == heading.code and heading.system in ("", code.get("codeSystem"))
        for code in read_xml(document).iterfind(path)
    )


def choose(events: Sequence[EventRow], query: DocumentQuery) -> EventRow | Decision | None:
    """Return the document that is asked for, a refusal, or none when its set has no document. Spec: 20 §4.4, §8."""
    if not query.document_id:
        found = [event for event in events if _is_of_set(event, query.set_id)]
        if len(found) > 1:
            return refuse("30344", "set_ambiguous", set_id=query.set_id)
        return found[0] if found else None
    wanted = query.document_id.upper()
    event = next((event for event in events if event.event_id == wanted), None)
    return event if event is not None else refuse("30308", "document_unknown", event_id=query.document_id)


def describe(event: EventRow, directory: Directory) -> StoredDocument:
    """Return what a list says of a stored document. Spec: 20 §13."""
    shown = show(event)
    return StoredDocument(
        event_id=event.event_id,
        event_type=event.event_type,
        payload_id=shown.payload_id,
        status=event.status,
        stored_at=event.stored_at,
        effective_time=event.effective_time,
        size=event.document_length,
        title=DOCUMENT_TYPES.get(event.event_type, ""),
        replaced_by=event.replaced_by,
        withdrawn_by=event.withdrawn_by,
        set_id=event.metadata.get("setId"),
        author=_author_of(event, directory),
    )


_NAME_PARTS: Final = (
    ("prefix", "prefix"),
    ("family", "familyName"),
    ("given", "givenName1"),
    ("given", "givenName2"),
    ("suffix", "suffix"),
)
"""The parts of a name that are kept, in the order in which they are written. Spec: 20 §12 (builders), 10 §11.4."""


def _author_of(event: EventRow, directory: Directory) -> DocumentAuthor:
    """Return the author from the metadata of the upload; the organisation is the author's own, else the sender's."""
    said = event.metadata
    text = said.get("author/unstructuredName", "")
    name = ((("", text),) if text else ()) or tuple(
        (tag, said[f"author/structuredName/{part}"])
        for tag, part in _NAME_PARTS
        if f"author/structuredName/{part}" in said
    )
    organisation = said.get("author/idCode", "") if said.get("author/idCodeSystem") == OID_ODS else ""
    organisation_name = ""
    if organisation or said.get("author.type", "").startswith("agentOrg"):
        # An organisation wrote it: the name is no person's.
        organisation_name, name = " ".join(part for _, part in name), ()
    organisation = organisation or said.get("sender.organisation", "")
    if not organisation_name:
        parties = directory.parties.values()
        organisation_name = next((party.name for party in parties if party.ods == organisation), "")
    job_role = said.get("author/jobRoleCode", "")
    return DocumentAuthor(
        user_id=said.get("author/personIdCode", ""),
        role_profile_id=said.get("author/roleProfileIdCode", ""),
        job_role=CodedValue(job_role, said.get("author/jobRoleCodeSystem", "")) if job_role else None,
        job_role_name=said.get("author/jobRoleDescription", ""),
        name=name,
        organisation=organisation,
        organisation_name=organisation_name,
    )
