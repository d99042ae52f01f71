"""The audit of the adaptor: who sent what about whom, and nothing of what was said. Spec: 50 F22."""

import hmac
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from sys import getrecursionlimit

import pytest
from pydantic import SecretStr

from journeys.messages import GP, PRACTICE, PRACTICE_PARTY
from mhs.rig import TestClock, settings
from openscr.errors import ConfigurationError
from openscr.mhs.audit import AuditFacts, AuditTrail, patient_name_of
from openscr.mhs.payload_people import NOBODY, people_in, read_people
from openscr.mhs.store.memory import MemoryStore
from openscr.spine import AskedPermission, Consent

NUMBER = "9990000034"
KEY = "a key that somebody keeps"
HASHED = hmac.digest(KEY.encode(), NUMBER.encode(), "sha256").hex()


def facts(payload: bytes, clock: TestClock) -> AuditFacts:
    return AuditFacts(
        direction="outbound",
        outcome="OUTBOUND_MESSAGE_ACKD",
        started=clock.now - timedelta(milliseconds=1500),
        workflow="async-reliable",
        interaction="REPC_IN150016UK05",
        message_id="M",
        correlation_id="C",
        from_asid="200000000115",
        to_party="YES-0000806",
        from_party=PRACTICE_PARTY,
        people=read_people(payload),
    )


def hashed() -> AuditTrail:
    name = patient_name_of(settings(secret_audit_key=SecretStr(KEY)))
    return AuditTrail(MemoryStore(), TestClock(), name)


def test_f22_a_record_says_who_sent_what_about_whom_and_how_it_went() -> None:
    clock = TestClock()
    entry = hashed().entry(facts(PRACTICE.upload(NUMBER).payload, clock))
    assert entry.occurred_at == clock.now
    assert entry.content == {
        "direction": "outbound",
        "outcome": "OUTBOUND_MESSAGE_ACKD",
        "milliseconds": "1500",
        "workflow": "async-reliable",
        "interaction": "REPC_IN150016UK05",
        "message_id": "M",
        "correlation_id": "C",
        "from_asid": "200000000115",
        "from_party": PRACTICE_PARTY,
        "to_party": "YES-0000806",
        "user": GP.user_id,
        "role_profile": GP.role_profile_id,
        "job_role": GP.job_role,
        "patient": HASHED,
    }


MESSAGES = {
    "upload": lambda: PRACTICE.upload(NUMBER).payload,
    "list": lambda: body_of(PRACTICE.event_list(NUMBER).body),
    "get consent": lambda: body_of(PRACTICE.get_consent(NUMBER).body),
    "set consent": lambda: body_of(PRACTICE.set_consent(NUMBER, Consent.NO).body),
    "has permissions": lambda: body_of(PRACTICE.has_permissions(NUMBER, AskedPermission("View")).body),
}


def body_of(envelope: bytes) -> bytes:
    """Return what a SOAP body holds, as a supplier gives it to the adaptor."""
    start = envelope.index(b">", envelope.index(b":Body")) + 1
    return envelope[start : envelope.rindex(b"</", 0, envelope.rindex(b"Body>"))]


@pytest.mark.parametrize("message", MESSAGES)
def test_f22_author_and_patient_are_found_in_every_kind_of_message(message: str) -> None:
    people = read_people(MESSAGES[message]())
    assert people.nhs_number == NUMBER
    assert people.user_id == GP.user_id


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"not XML " + NUMBER.encode(),
        b"<a>",
        "<a/>".encode("utf-16"),
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b"<a>" * getrecursionlimit() + b"</a>" * getrecursionlimit(),
        b'<a xmlns="urn:hl7-org:v3"><ControlActEvent><author/></ControlActEvent></a>',
        b'<a><id root="2.16.840.1.113883.2.1.4.1"/><id root="2.16.840.1.113883.2.1.4.1" extension="9990000035"/></a>',
        b'<a><id root="2.16.840.1.113883.2.1.4.1" extension="&lt;all that I know&gt;"/></a>',
    ],
)
def test_f22_a_payload_that_names_nobody_is_no_failure(payload: bytes) -> None:
    assert read_people(payload) == NOBODY
    assert "patient" not in hashed().entry(facts(payload, TestClock())).content


async def test_f22_a_large_payload_is_read_as_a_small_one_is() -> None:
    small = PRACTICE.upload(NUMBER).payload
    large = small + b"<!--%b-->" % (b"x" * 300_000)
    assert await people_in(large) == await people_in(small) == read_people(small)
    assert await people_in(b"") == NOBODY


def test_f22_one_patient_has_one_name_and_another_key_gives_another() -> None:
    one, same = (patient_name_of(settings(secret_audit_key=SecretStr(KEY))) for _ in range(2))
    other = patient_name_of(settings(secret_audit_key=SecretStr("another key")))
    assert one(NUMBER) == same(NUMBER) == HASHED
    assert other(NUMBER) != HASHED != one("9990000026")


def test_f22_the_number_itself_stands_there_only_when_it_is_asked_for() -> None:
    name = patient_name_of(settings(audit_nhs_number="plain"))
    entry = AuditTrail(MemoryStore(), TestClock(), name).entry(facts(PRACTICE.upload(NUMBER).payload, TestClock()))
    assert entry.content["patient"] == NUMBER
    assert NUMBER not in str(hashed().entry(facts(PRACTICE.upload(NUMBER).payload, TestClock())).content)


def test_f22_without_a_name_for_patients_none_is_named() -> None:
    entry = AuditTrail(MemoryStore(), TestClock()).entry(facts(PRACTICE.upload(NUMBER).payload, TestClock()))
    assert "patient" not in entry.content
    assert entry.content["user"] == GP.user_id


def test_f22_nothing_of_the_body_is_kept() -> None:
    payload = PRACTICE.upload(NUMBER).payload
    content = hashed().entry(facts(payload, TestClock())).content
    read = {
        name
        for name, value in content.items()
        if name != "milliseconds" and len(value) > 1 and value.encode() in payload
    }
    # The interaction and the sender's system stand in the payload too; they were given beside it.
    assert read == {"user", "role_profile", "job_role", "interaction", "from_asid"}


async def test_f22_records_stand_in_a_chain_in_their_order() -> None:
    store, clock = MemoryStore(), TestClock()
    await store.open()
    trail = AuditTrail(store, clock)
    for outcome in ("200", "404", "500"):
        await trail.write(AuditFacts("outbound", outcome, clock.now))
        clock.move(1)
    rows = [row async for row in store.read_audit()]
    assert [(row.sequence, row.entry.content["outcome"]) for row in rows] == [(1, "200"), (2, "404"), (3, "500")]
    assert await store.verify_audit() is None


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    chosen = settings(data=tmp_path / "mhs-data")
    first, second = patient_name_of(chosen), patient_name_of(chosen)
    assert first(NUMBER) == second(NUMBER)
    key = tmp_path / "mhs-data" / "audit.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert [path.name for path in key.parent.iterdir()] == ["audit.key"]
    assert first(NUMBER) == hmac.digest(key.read_bytes(), NUMBER.encode(), "sha256").hex()


def test_two_that_make_the_key_at_once_have_the_same(tmp_path: Path) -> None:
    for attempt in range(20):
        chosen = settings(data=tmp_path / str(attempt))
        with ThreadPoolExecutor(4) as threads:
            names = {name(NUMBER) for name in threads.map(lambda _, data=chosen: patient_name_of(data), range(4))}
        assert len(names) == 1


def test_a_key_that_cannot_be_used_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "audit.key").write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="damaged"):
        patient_name_of(settings(data=tmp_path))
    with pytest.raises(ConfigurationError, match="Not a directory"):
        patient_name_of(settings(data=tmp_path / "audit.key" / "x"))


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "mhs-data").write_text("a file")
    else:
        tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="the key of the audit"):
        patient_name_of(settings(data=tmp_path / "mhs-data"))
