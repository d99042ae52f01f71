"""Document lists as they are written: whatever is known of a document's author, the schema takes it.

Spec: 20 §13.
"""

from datetime import UTC, datetime

import pytest

from openscr.hl7.document_list import read_document_list_answer, write_documents
from openscr.hl7.strict import check_strict
from openscr.hl7.wrapper import NAMESPACE, Heading
from openscr.spine import CodedValue, DocumentAuthor, DocumentListOutcome, EventStatus, Outcome, StoredDocument
from openscr.transport.xml import read_xml

HEADING = Heading("00000000-0000-4000-8000-000000000001", "20260302120000", "3NPfIT7.2.02", "1", "2")


@pytest.mark.parametrize(
    "author",
    [
        DocumentAuthor(),
        DocumentAuthor(job_role=CodedValue("R8000"), job_role_name="General Medical Practitioner"),
        DocumentAuthor(job_role=CodedValue("R8000", "1.2.826.0.1285.0.2.1.104")),
        DocumentAuthor("1", "2", name=(("prefix", "Dr"), ("family", "Penrose"), ("given", "A"), ("given", "B"))),
        DocumentAuthor(name=(("", "Dr <A> & Penrose"),), organisation="Y90001"),
    ],
    ids=str,
)
def test_every_author_is_written_as_the_schema_has_it(author: DocumentAuthor) -> None:
    """An id, a code or a code system that nobody knows is left out; an empty one would be none."""
    document = StoredDocument(
        event_id="00000000-0000-4000-8000-000000000003",
        event_type="196981000000101",
        payload_id="REPC_MT150007UK05",
        status=EventStatus.REPLACED,
        stored_at=datetime(2026, 3, 2, 12, tzinfo=UTC),
        effective_time="20260302",
        size=5,
        replaced_by="00000000-0000-4000-8000-000000000004",
        author=author,
    )
    answer = DocumentListOutcome(Outcome(), "9990012318", (document,))
    written = write_documents("QUPC_IN160101UK05", HEADING, answer, HEADING.message_id, NAMESPACE)
    root = read_xml(written)
    assert [finding.text for finding in check_strict(root, "QUPC_IN160102UK05")] == []
    (read,) = read_document_list_answer(root, "9990012318").documents
    assert read.author.job_role == author.job_role
    assert (read.author.user_id, read.author.role_profile_id, read.author.name) == (
        author.user_id,
        author.role_profile_id,
        author.name,
    )
