"""Queries answered: each kind read by its reader, asked of the record, and written by its writer.

Spec: 20 §2.4, §4, §5, §7, §11, §13; 40 §7.1, §7.2.
"""

from collections.abc import Callable
from dataclasses import replace

from openscr.codes import (
    ACKNOWLEDGEMENT,
    DOCUMENT_QUERIES,
    EVENT_ANSWER,
    EVENT_LIST_ANSWER,
    EVENT_LIST_SM,
    EVENT_LIST_SM_ANSWER,
    QUERY_FAILED,
    SCR_PERMISSIONS,
    SUBJECT_ACCESS_ANSWER,
    VERSION_CODE_3,
)
from openscr.delivery.answers import express_row
from openscr.faces.spine.arrival import Arrival, Payload
from openscr.faces.spine.context import SpineContext
from openscr.hl7 import psis
from openscr.hl7.acknowledgement import write_acknowledgement
from openscr.hl7.document_list import write_documents
from openscr.hl7.document_query import read_document_query
from openscr.hl7.psis import HeaderFacts, Query, QueryMessage
from openscr.hl7.scr_application import read_permissions_query, write_permissions
from openscr.hl7.wrapper import NAMESPACE, Heading, Wrapper
from openscr.identifiers import hl7_timestamp
from openscr.record.record import Record
from openscr.spine import (
    Caller,
    DocumentListOutcome,
    DocumentListQuery,
    DocumentOutcome,
    DocumentQuery,
    EventListQuery,
    EventQuery,
    MessageIds,
    Outcome,
    SubjectAccessQuery,
)
from openscr.store.interface import OutboxRow

Answered = tuple[Outcome, str, bytes]
"""The outcome; of an accepted query also the interaction of its answer, and that in its wrapper element."""


def read_query(wrapper: Wrapper, header: HeaderFacts, interaction: str) -> QueryMessage:
    """Read a query that came over SOAP as ``interaction``. Nothing is raised. Spec: 20 §12."""
    if interaction in DOCUMENT_QUERIES:
        return read_document_query(wrapper, header, interaction)
    if interaction == SCR_PERMISSIONS:
        return read_permissions_query(wrapper, header)
    return psis.read_query(wrapper, header)


async def answer_query(
    record: Record,
    caller: Caller,
    ids: MessageIds,
    query: Query,
    heading: Callable[[], Heading],
    reference: str,
    shell: str | None,
) -> Answered:
    """Ask the record and write what it says; ``shell`` is the wrapper that this client wants instead of its own.

    Raises: `StoreError`. Spec: 20 §2.4, §7, §13.
    """
    interaction = ids.interaction
    if isinstance(query, EventListQuery):
        listed = await record.list_events(caller, replace(query, ids=ids))
        if not listed.outcome.accepted:
            return listed.outcome, "", b""
        name = EVENT_LIST_SM_ANSWER if interaction == EVENT_LIST_SM else EVENT_LIST_ANSWER
        return listed.outcome, name, psis.write_event_list(interaction, heading(), listed, reference, shell)
    if isinstance(query, EventQuery):
        found = await record.retrieve_event(caller, replace(query, ids=ids))
        if not found.outcome.accepted:
            return found.outcome, "", b""
        return found.outcome, EVENT_ANSWER, psis.write_event(heading(), found, reference, shell)
    if isinstance(query, SubjectAccessQuery):
        everything = await record.retrieve_record(caller, replace(query, ids=ids))
        if not everything.outcome.accepted:
            return everything.outcome, "", b""
        return everything.outcome, SUBJECT_ACCESS_ANSWER, psis.write_record(heading(), everything, reference, shell)
    documents: DocumentListOutcome | DocumentOutcome
    if isinstance(query, DocumentListQuery):
        documents = await record.list_documents(caller, replace(query, ids=ids))
    elif isinstance(query, DocumentQuery):
        documents = await record.retrieve_document(caller, replace(query, ids=ids))
    else:
        told = await record.check_scr_permissions(caller, replace(query, ids=ids))
        if not told.outcome.accepted:
            return told.outcome, "", b""
        return told.outcome, SCR_PERMISSIONS, write_permissions(heading(), told, reference, shell)
    if not documents.outcome.accepted:
        return documents.outcome, "", b""
    body = write_documents(interaction, heading(), documents, reference)
    return documents.outcome, DOCUMENT_QUERIES[interaction], psis.wrap(interaction, body, shell)


async def answer_express(context: SpineContext, arrival: Arrival, payload: Payload) -> tuple[Outcome, OutboxRow]:
    """Ask the record, and keep the answer for delivery in the same transaction. Raises: `StoreError`.

    Spec: 40 §7.2, §8 steps 13-14.
    """
    wrapper, query = payload.wrapper, payload.query
    now, message_id = context.clock(), context.mint()
    address = arrival.reply_address(payload)
    stated = wrapper.version_code if wrapper is not None else ""

    def row(found: DocumentListOutcome | DocumentOutcome | Outcome) -> OutboxRow:
        outcome = found if isinstance(found, Outcome) else found.outcome
        heading = Heading(
            message_id, hl7_timestamp(now), stated or VERSION_CODE_3, address.receiver_asid, address.sender_asid
        )
        by_acknowledgement = arrival.treatment is not None and arrival.treatment.by_acknowledgement
        if by_acknowledgement and arrival.takes(ACKNOWLEDGEMENT):
            name = ACKNOWLEDGEMENT
            body = write_acknowledgement(heading, outcome, address.reference, arrival.row.name)
        elif isinstance(found, Outcome) or not outcome.accepted:
            name = QUERY_FAILED
            body = psis.write_refusal(heading, outcome, address.reference, NAMESPACE)
        else:
            name = DOCUMENT_QUERIES[arrival.row.name]
            body = write_documents(arrival.row.name, heading, found, address.reference, NAMESPACE)
        return arrival.put_off(express_row(address, name, body, outcome, arrival.directory, message_id, now))

    made: list[OutboxRow] = []

    def answer(found: DocumentListOutcome | DocumentOutcome) -> OutboxRow:
        made.append(row(found))
        return made[-1]

    caller = arrival.caller(payload, wrapper.person if wrapper is not None else None)
    ids = arrival.ids(payload)
    if isinstance(query, DocumentListQuery):
        listed = await context.record.list_documents(caller, replace(query, ids=ids), answer=answer)
        return listed.outcome, made[-1]
    if isinstance(query, DocumentQuery):
        found = await context.record.retrieve_document(caller, replace(query, ids=ids), answer=answer)
        return found.outcome, made[-1]
    refusal = payload.refusal or psis.UNREADABLE
    refused = row(refusal)
    await context.record.audit_refusal(
        caller, ids, refusal, reason="invalid", nhs_number=payload.nhs_number, answer=refused
    )
    return refusal, refused
