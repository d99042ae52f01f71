"""The requests that are sent: every operation of the mix that this service has, as templates in its sender's name.

Spec: 90 §4, §7; 00 §4 ``--as``, ``--user``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from openscr.bench.patients import event_id_of, number_of
from openscr.bench.templates import EFFECTIVE, EVENT, HL7_TIME, MESSAGE, NUMBER, WRITTEN_AT, Template, times_at
from openscr.client.polling import polling_headers
from openscr.client.profile import Profile
from openscr.client.reliable import write_reliable
from openscr.codes import (
    ACS_GET,
    ACS_HAS,
    ACS_SET,
    ALERT,
    ALERT_REASONS,
    ALERT_TYPES,
    EVENT_LIST,
    SERVICE_PREFIX,
    UPLOAD,
    VERSION_CODE,
)
from openscr.codes import EVENT as EVENT_QUERY
from openscr.errors import ConfigurationError
from openscr.fhir.audit_event import REASON_SYSTEM, TYPE_SYSTEM, write_audit_event
from openscr.fhir.operation_outcome import MEDIA_TYPE
from openscr.hl7.acs import VERSION_OF_REQUEST, write_get, write_set
from openscr.hl7.gp_summary import write_upload
from openscr.hl7.permission_check import write_has
from openscr.hl7.psis import write_query
from openscr.hl7.wrapper import Heading
from openscr.identifiers import ebxml_timestamp, hl7_timestamp, utc_now
from openscr.spine import (
    Alert,
    AskedPermission,
    CodedValue,
    Consent,
    ConsentChange,
    ConsentQuery,
    EventListQuery,
    EventQuery,
    MessageIds,
    PermissionQuery,
)
from openscr.transport.interactions import ALERT_PATH
from openscr.transport.mime import CLIENT_CONTENT_TYPE
from openscr.transport.wsa import write_request


class Operation(StrEnum):
    """What can be asked of the service, as reports name it."""

    UPLOAD = "upload"
    LIST = "event list"
    EVENT = "event"
    CONSENT_GET = "consent get"
    CONSENT_HAS = "consent has"
    CONSENT_SET = "consent set"
    ALERT = "alert"


_N, _ID, _E = NUMBER.decode(), MESSAGE.decode(), EVENT.decode()
_OLDER: Final = timedelta(days=1)
_SOUND, _BROKEN = b'<statusCode code="active"', b'<statusCode code="absurd"'


@dataclass(frozen=True, slots=True)
class Message:
    """A request as it goes over the wire, head and body; ``message_id`` is what its answer refers to."""

    operation: Operation
    wire: bytes
    message_id: str


class Composer:
    """Makes the requests of one sender to the service at ``at``.

    ``documents`` are the summaries that are uploaded, with places to be filled. Raises: `ConfigurationError` when the
    profile has no person: an alert needs one.
    """

    def __init__(self, profile: Profile, at: str, documents: Sequence[bytes]) -> None:
        if profile.person is None or profile.user is None:
            raise ConfigurationError("requests are made in the name of a person: name one with --user")
        self._profile = profile
        self._at = at.rstrip("/")
        self._uploads = [Template(self._upload(document)) for document in documents]
        self._broken = [Template(self._upload(each.replace(_SOUND, _BROKEN, 1))) for each in documents[:1]]
        self._others = {
            Operation.LIST: Template(self._query(EventListQuery(MessageIds(_ID, EVENT_LIST), _N))),
            Operation.EVENT: Template(self._query(EventQuery(MessageIds(_ID, EVENT_QUERY), _N, _E))),
            **{operation: Template(content) for operation, content in self._consents().items()},
            Operation.ALERT: Template(self._alert()),
        }
        self._second = -1
        self._times: dict[bytes, bytes] = {}
        self._older = b""

    @property
    def varieties(self) -> int:
        """How many different summaries there are."""
        return len(self._uploads)

    def upload(
        self, position: int, message_id: str, *, variety: int = 0, older: bool = False, broken: bool = False
    ) -> Message:
        """Return an upload for the patient at a position; ``older`` than what was sent before, or with a fault."""
        values = self._now() | {NUMBER: number_of(position).encode(), MESSAGE: message_id.encode()}
        if older:
            values[EFFECTIVE] = self._older
        template = self._broken[0] if broken else self._uploads[variety]
        return Message(Operation.UPLOAD, template.fill(values), message_id)

    def other(self, operation: Operation, position: int, message_id: str) -> Message:
        """Return any other request about the patient at a position; an event is the first one that was stored."""
        values = self._now() | {NUMBER: number_of(position).encode(), MESSAGE: message_id.encode()}
        if operation is Operation.EVENT:
            values[EVENT] = event_id_of(position).encode()
        return Message(operation, self._others[operation].fill(values), message_id)

    def _now(self) -> dict[bytes, bytes]:
        now = utc_now()
        second = int(now.timestamp())
        if second != self._second:
            self._second, self._times = second, times_at(now)
            self._older = hl7_timestamp(now - _OLDER).encode()
        return self._times

    # --- what templates are made from -------------------------------------------------------------------------------

    def _heading(self, version: str = VERSION_CODE) -> Heading:
        return Heading(_ID, HL7_TIME.decode(), version, self._profile.receiver_asid, self._profile.asid)

    def _http(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        host = urlsplit(self._at).netloc
        lines = {"Host": host, **headers, "Content-Length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"POST {urlsplit(self._at).path}{path} HTTP/1.1\r\n{head}\r\n".encode() + body

    def _upload(self, document: bytes) -> bytes:
        profile = self._profile
        message = write_reliable(
            write_upload(UPLOAD, self._heading(), document, profile.person),
            action=UPLOAD,
            caller=profile.caller,
            receiver=profile.receiver_party,
            route=profile.route(UPLOAD),
            message_id=_ID,
            timestamp=ebxml_timestamp(WRITTEN_AT),
        )
        headers = {"SOAPAction": f'"{message.soap_action}"', "Content-Type": CLIENT_CONTENT_TYPE}
        return self._http(message.route.path, headers, message.body)

    def _soap(self, service: str, interaction: str, payload: bytes) -> bytes:
        profile, action = self._profile, f"{SERVICE_PREFIX}{service}/{interaction}"
        body = write_request(
            message_id=_ID,
            action=action,
            to=self._at + profile.sync_path,
            from_address="",
            receiver_asid=profile.receiver_asid,
            sender_asid=profile.asid,
            body=payload,
        )
        return self._http(profile.sync_path, {"SOAPAction": f'"{action}"', "Content-Type": "text/xml"}, body)

    def _query(self, query: EventListQuery | EventQuery) -> bytes:
        payload = write_query(self._heading(), query, self._profile.person)
        return self._soap("psisquery", query.ids.interaction, payload)

    def _consents(self) -> dict[Operation, bytes]:
        heading, person = self._heading(VERSION_OF_REQUEST), self._profile.person
        get = write_get(heading, ConsentQuery(MessageIds(_ID, ACS_GET), _N), person)
        asked = (AskedPermission("View"),)
        has = write_has(heading, PermissionQuery(MessageIds(_ID, ACS_HAS), _N, asked), person)
        change = write_set(heading, ConsentChange(MessageIds(_ID, ACS_SET), _N, Consent.YES), person)
        return {
            Operation.CONSENT_GET: self._soap("lrsquery", ACS_GET, get),
            Operation.CONSENT_HAS: self._soap("lrsquery", ACS_HAS, has),
            Operation.CONSENT_SET: self._soap("lrs", ACS_SET, change),
        }

    def _alert(self) -> bytes:
        profile, kind, reason = self._profile, "2", "5"
        if profile.user is None:
            raise ConfigurationError("an alert tells of a person")
        alert = Alert(
            ids=MessageIds("", ALERT),
            nhs_number=_N,
            type=CodedValue(kind, TYPE_SYSTEM, ALERT_TYPES[kind]),
            reason=CodedValue(reason, REASON_SYSTEM, ALERT_REASONS[reason]),
            occurred_at=_fhir_time(utc_now()),
            user=profile.user,
            system_name=profile.system_name,
            notification=f"Alert: Permission to view override {_ID}",
            reference=_ID,
        )
        headers = polling_headers(profile.caller, correlation_id=_ID, request_id=_ID)
        body = write_audit_event(alert, profile.asid)
        return self._http(ALERT_PATH, {**headers, "Content-Type": MEDIA_TYPE}, body)


def _fhir_time(instant: datetime) -> str:
    return instant.isoformat(timespec="seconds")
