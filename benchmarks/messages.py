"""The messages that are measured: the reference summary, the mixed sizes, the queries; fresh ids, fresh patients.

Spec: 90 §4.1, §6.4, §7.
"""

import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from openscr.codes import ACS_GET, EVENT, EVENT_LIST, SERVICE_PREFIX
from openscr.directory.demo import GP_ASID
from openscr.hl7.acs import VERSION_OF_REQUEST, write_get
from openscr.hl7.psis import write_query
from openscr.hl7.wrapper import Heading
from openscr.identifiers import hl7_timestamp, mint_uuid, utc_now
from openscr.spine import ConsentQuery, EventListQuery, EventQuery, MessageIds
from openscr.testbench.population import number_of_prefix
from openscr.testbench.samples import GP_PERSON, sample_upload
from openscr.testbench.world import OWN_ASID
from openscr.transport.wsa import write_request

REFERENCE = Path(__file__).parent.parent / "tests/messages/gp-summary/02-replacement_REPC_IN150016UK05.xml"
"""The core summary of about 17 kB that figures "per upload" are for. Spec: 90 §6.4."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of the load: where it goes, its headers and bytes; the patient and event behind it."""

    path: str
    headers: dict[str, str]
    body: bytes
    nhs_number: str = ""
    event_id: str = ""


def patients(start: int = 100) -> Iterator[str]:
    """Count through the valid numbers of the test range."""
    for suffix in range(start, 1_000_000):
        number = number_of_prefix(suffix)
        if number:
            yield number


def _reference_document() -> str:
    text = REFERENCE.read_text("utf-8")
    document = text[text.index("<GPSummary") : text.index("</GPSummary>") + len("</GPSummary>")]
    document = re.sub(r"<replacementOf.*?</replacementOf>", "", document, flags=re.S)
    return document.replace("<GPSummary", '<GPSummary xmlns="urn:hl7-org:v3"', 1)


class Uploads:
    """Makes uploads of the reference summary, or of summaries with the sizes of the synthetic population."""

    def __init__(self, *, mixed: bool, start: int, seed: int = 1) -> None:
        self._document = _reference_document()
        self._entry = re.search(
            r"<component typeCode=\"COMP\" contextConductionInd.*?</component>\s*(?=<component|</pert)",
            self._document,
            re.S,
        )
        self._random = random.Random(seed)
        self._mixed = mixed
        self._numbers = patients(start)

    def next(self) -> Request:
        """Return a fresh upload for a fresh patient."""
        number, event_id, now = next(self._numbers), mint_uuid(), utc_now()
        document = re.sub(r'(<id root=")[0-9A-F-]{36}', rf"\g<1>{event_id}", self._document, count=1)
        document = re.sub(r'(root="2\.16\.840\.1\.113883\.2\.1\.4\.1" extension=")\d{10}', rf"\g<1>{number}", document)
        if self._mixed:
            document = self._resize(document)
        sample = sample_upload(document.encode(), event_id, now)
        headers = {"Content-Type": sample.content_type, "SOAPAction": sample.soap_action}
        return Request("/reliablemessaging/reliablerequest", headers, sample.body, number, event_id)

    def _resize(self, document: str) -> str:
        """Give a document a size drawn from a log-normal: median 9 kB, 95 % below 120 kB, at most 400 kB. 90 §7."""
        sigma = math.log(120 / 9) / 1.645
        wanted = min(400_000, int(self._random.lognormvariate(math.log(9_000), sigma)))
        if wanted < len(document):
            # Smaller than the reference: the coded part goes, the text stays.
            short = re.sub(r"<pertinentInformation2.*?</pertinentInformation2>", "", document, flags=re.S)
            return re.sub(r">\s+<", "><", short)
        entry = self._entry.group() if self._entry else ""
        copies = []
        for _ in range((wanted - len(document)) // max(1, len(entry))):
            copies.append(re.sub(r'<id root="[0-9A-F-]{36}"', f'<id root="{mint_uuid()}"', entry))
        return document.replace(entry, entry + "".join(copies), 1)


def _soap(interaction: str, service: str, message_id: str, payload: bytes) -> tuple[dict[str, str], bytes]:
    action = f"{SERVICE_PREFIX}{service}/{interaction}"
    body = write_request(
        message_id=message_id,
        action=action,
        to="https://localhost/sync-service",
        from_address="127.0.0.1",
        receiver_asid=OWN_ASID,
        sender_asid=GP_ASID,
        body=payload,
    )
    return {"Content-Type": "text/xml", "SOAPAction": action}, body


def event_list(number: str) -> Request:
    """Return an event list query."""
    message_id = mint_uuid()
    heading = Heading(message_id, hl7_timestamp(utc_now()), "V3NPfIT4.2.00", OWN_ASID, GP_ASID)
    payload = write_query(heading, EventListQuery(MessageIds(message_id, EVENT_LIST), number), GP_PERSON)
    return Request("/sync-service", *_soap(EVENT_LIST, "psisquery", message_id, payload))


def event(number: str, event_id: str) -> Request:
    """Return an event query."""
    message_id = mint_uuid()
    heading = Heading(message_id, hl7_timestamp(utc_now()), "V3NPfIT4.2.00", OWN_ASID, GP_ASID)
    payload = write_query(heading, EventQuery(MessageIds(message_id, EVENT), number, event_id), GP_PERSON)
    return Request("/sync-service", *_soap(EVENT, "psisquery", message_id, payload))


def consent(number: str) -> Request:
    """Return a consent query."""
    message_id = mint_uuid()
    heading = Heading(message_id, hl7_timestamp(utc_now()), VERSION_OF_REQUEST, OWN_ASID, GP_ASID)
    payload = write_get(heading, ConsentQuery(MessageIds(message_id, ACS_GET), number), GP_PERSON)
    return Request("/sync-service", *_soap(ACS_GET, "lrsquery", message_id, payload))
