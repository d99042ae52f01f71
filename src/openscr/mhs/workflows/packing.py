"""A supplier's message as it goes to the Spine: one HTTP request, complete; every attempt sends the same bytes.

Spec: 50 §2.5, §2.6, C5.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from openscr.codes import ACTOR_NEXT_MSH, ACTOR_TO_PARTY
from openscr.directory.routes import Route
from openscr.errors import EndpointUnknown
from openscr.identifiers import UuidFactory, ebxml_timestamp
from openscr.mhs.exchange import OutboundRequest
from openscr.mhs.settings import MhsSettings
from openscr.mhs.states import Workflow
from openscr.transport.ebxml import Reference, Reliability, payload_id_of, write_user_message
from openscr.transport.mime import CLIENT_PART_TYPE, HEADER_CONTENT_ID, EncodedPart, boundary_for, write_encoded
from openscr.transport.wsa import write_request

_SOAP_TYPE: Final = "text/xml"


@dataclass(frozen=True, slots=True)
class Packed:
    """One HTTP request."""

    address: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def pack(
    request: OutboundRequest, payload: bytes, route: Route, settings: MhsSettings, now: datetime, mint: UuidFactory
) -> Packed:
    """Write the request that carries a message over its route; ``payload`` is the message's in UTF-8.

    Raises: `EndpointUnknown` when the route lacks what the workflow needs, `ValueError` when the message cannot be
    written. Spec: 50 §2.1 step 4, §2.2 step 3.
    """
    address = _address(request, route, settings)
    body, content = (
        _soap(request, payload, route)
        if request.workflow is Workflow.SYNC
        else _ebxml(request, payload, route, settings.secret_party_key, now, mint)
    )
    ids = (
        ("Correlation-Id", request.correlation_id),
        ("Message-Id", request.message_id),
        ("Interaction-Id", request.interaction.name),
    )
    if not all(value.isprintable() for _, value in ids):
        raise ValueError("an id must not hold control characters")
    headers = (
        ("SOAPAction", request.interaction.action),
        *content,
        *ids,
        ("User-Agent", "Mozilla/5.0 (compatible; pycurl)"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "gzip,deflate"),
    )
    return Packed(address, headers, body)


def _address(request: OutboundRequest, route: Route, settings: MhsSettings) -> str:
    """Return where a message goes: forwarding has one address for all, the others' may be overridden. Spec: 50 §7."""
    match request.workflow:
        case Workflow.FORWARD_RELIABLE:
            address = settings.forward_reliable_endpoint_url
        case Workflow.SYNC:
            address = settings.synchronous_endpoint_url or route.address
        case Workflow.ASYNC_EXPRESS:
            address = settings.asynchronous_express_endpoint_url or route.address
        case _:
            address = settings.asynchronous_reliable_endpoint_url or route.address
    needed = (route.asid,) if request.workflow is Workflow.SYNC else (route.party_key, route.cpa_id)
    if not address or not all(needed):
        raise EndpointUnknown("the directory's entry lacks an address, a party key, a CPA id or an ASID")
    return address


def _soap(request: OutboundRequest, payload: bytes, route: Route) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    body = write_request(
        message_id=request.message_id,
        action=request.interaction.action,
        to=request.interaction.service,
        from_address="",
        receiver_asid=route.asid,
        sender_asid=request.from_asid or "",
        body=payload,
        prefixed=True,
    )
    return body, (("Content-Type", _SOAP_TYPE), ("charset", "UTF-8"), ("type", _SOAP_TYPE))


def _ebxml(
    request: OutboundRequest, payload: bytes, route: Route, own_party: str, now: datetime, mint: UuidFactory
) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    attached = [(f"{mint()}@spine.nhs.uk", attachment) for attachment in request.attachments]
    references = [
        Reference(f"cid:{content_id}", attachment.description, attachment.document_id)
        for content_id, attachment in attached
    ]
    references += [
        Reference(f"mid:{each.message_id}", each.description, each.document_id) for each in request.external_attachments
    ]
    express = request.workflow is Workflow.ASYNC_EXPRESS
    envelope = write_user_message(
        from_party=own_party,
        to_party=route.party_key,
        cpa_id=route.cpa_id,
        conversation_id=request.correlation_id,
        service=request.interaction.service,
        action=request.interaction.name,
        message_id=request.message_id,
        timestamp=ebxml_timestamp(now),
        ref_to_message_id=None,
        reliability=Reliability.EXPRESS if express else Reliability.RELIABLE,
        spine=False,
        actor=ACTOR_NEXT_MSH if request.workflow is Workflow.FORWARD_RELIABLE else ACTOR_TO_PARTY,
        references=references,
        soap="SOAP",
    )
    parts: list[EncodedPart] = [
        (HEADER_CONTENT_ID, CLIENT_PART_TYPE, "8bit", envelope),
        (payload_id_of(request.message_id), CLIENT_PART_TYPE, "8bit", payload),
    ]
    for content_id, attachment in attached:
        encoding = "base64" if attachment.is_base64 else "8bit"
        parts.append((content_id, attachment.content_type, encoding, attachment.payload.encode()))
    boundary = boundary_for(content for *_, content in parts)
    content_type = f'multipart/related; boundary="{boundary}"; type=text/xml; start={HEADER_CONTENT_ID}'
    return write_encoded(parts, boundary=boundary, line_end=b"\n"), (
        ("Content-Type", content_type),
        ("charset", "UTF-8"),
    )
