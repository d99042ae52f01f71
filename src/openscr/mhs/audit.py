"""The adaptor's audit: one record for every message and every failure, never the body of one.

A patient is named by a keyed hash: records of one patient can be found by who has key and number, and by nobody else.

Spec: 50 F22.
"""

import hmac
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from openscr.errors import ConfigurationError
from openscr.identifiers import Clock
from openscr.mhs.payload_people import NOBODY, People
from openscr.mhs.settings import MhsSettings
from openscr.mhs.store.interface import AuditEntry, Store, Transaction

PatientName = Callable[[str], str]
"""Makes of an NHS number what the audit calls the patient."""

_KEY_FILE: Final = "audit.key"
_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class AuditFacts:
    """What is known of an exchange when its record is written; ``people`` is whom its payload names.

    ``outcome`` is a status of 50 §6, an HTTP status or a word of ours; ``started`` is when the exchange began.
    """

    direction: Literal["outbound", "inbound"]
    outcome: str
    started: datetime
    workflow: str = ""
    interaction: str = ""
    message_id: str = ""
    correlation_id: str = ""
    ref_to_message_id: str = ""
    from_asid: str = ""
    to_asid: str = ""
    from_party: str = ""
    to_party: str = ""
    caller: str = ""
    people: People = NOBODY


class AuditTrail:
    """Writes records. Without ``patient_name`` they name no patient at all."""

    def __init__(self, store: Store, clock: Clock, patient_name: PatientName | None = None) -> None:
        self._store = store
        self._clock = clock
        self._patient_name = patient_name

    def entry(self, facts: AuditFacts) -> AuditEntry:
        """Return the record of an exchange, to be appended in the transaction that changes its state."""
        now = self._clock()
        people = facts.people
        patient = self._patient_name(people.nhs_number) if self._patient_name and people.nhs_number else ""
        content = {
            "direction": facts.direction,
            "outcome": facts.outcome,
            "milliseconds": str(round((now - facts.started).total_seconds() * 1000)),
            "workflow": facts.workflow,
            "interaction": facts.interaction,
            "message_id": facts.message_id,
            "correlation_id": facts.correlation_id,
            "ref_to_message_id": facts.ref_to_message_id,
            "from_asid": facts.from_asid,
            "to_asid": facts.to_asid,
            "from_party": facts.from_party,
            "to_party": facts.to_party,
            "caller": facts.caller,
            "user": people.user_id,
            "role_profile": people.role_profile_id,
            "job_role": people.job_role,
            "patient": patient,
        }
        return AuditEntry(now, {name: value for name, value in content.items() if value})

    async def write(self, facts: AuditFacts) -> None:
        """Write the record of an exchange that changes nothing else."""
        entry = self.entry(facts)

        async def append(transaction: Transaction) -> None:
            await transaction.append_audit(entry)

        await self._store.transact(append)


def patient_name_of(settings: MhsSettings) -> PatientName:
    """Return how the audit calls patients: by an HMAC-SHA256 of the number, in hex, or by the number itself.

    The key is ``secret_audit_key``, or one in the data folder that is made when there is none. Raises:
    `ConfigurationError` when that cannot be read or made. Spec: 50 F22.
    """
    if settings.audit_nhs_number == "plain":
        return str
    given = settings.secret_audit_key
    key = given.get_secret_value().encode() if given is not None else _key_in(settings.data)
    return lambda number: hmac.digest(key, number.encode(), "sha256").hex()


def _key_in(folder: Path) -> bytes:
    path = folder / _KEY_FILE
    try:
        if not path.exists():
            _make_key(path)
        key = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the key of the audit, {path}: {error.strerror}") from None
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(f"the key of the audit, {path}, is damaged: it must hold {_KEY_BYTES} bytes")
    return key


def _make_key(path: Path) -> None:
    """Make the key unless somebody else makes it at the same time; it is whole or not there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    own = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(own, path)
        except FileExistsError:
            return
    finally:
        own.unlink()
