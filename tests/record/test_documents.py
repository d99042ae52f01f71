"""Documents: what a filter wants, what consent and roles allow, what is told of each; and the whole record.

Spec: 20 §4.4, §6, §8, §10, §11, §13; 30 §9.
"""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscr.codes import DOCUMENT, DOCUMENT_LIST, GP_INITIAL_SUMMARY, GP_SUMMARY, OID_ODS, OID_SNOMED, SCR_PERMISSIONS
from openscr.codes import SUBJECT_ACCESS as SUBJECT_ACCESS_QUERY
from openscr.directory.model import Directory, Party
from openscr.errors import StoreError
from openscr.identifiers import slot_of
from openscr.record.decision import Decision
from openscr.record.documents import choose, covers, describe, has_heading, matching
from openscr.record.views import LARGEST_RECORD
from openscr.spine import (
    Caller,
    CodedValue,
    Consent,
    DissentOverride,
    DocumentFilter,
    DocumentListOutcome,
    DocumentListQuery,
    DocumentOutcome,
    DocumentQuery,
    EventListQuery,
    EventStatus,
    LegitimateRelationship,
    MessageIds,
    PermissionToView,
    ScrPermissionsOutcome,
    ScrPermissionsQuery,
    SubjectAccessOutcome,
    SubjectAccessQuery,
    TimeRange,
)
from openscr.standing import Holder, HolderKind
from openscr.store.interface import EventRow, OutboxRow, PatientEntry

from .clinic import (
    CLERK,
    FORMER,
    GP,
    LAWYER,
    NURSE,
    PATIENT,
    PORTER,
    STRANGER,
    SYSTEM,
    Clinic,
    codes,
    open_clinic,
    uuid,
)

DENIED, NO_RECORD, UNKNOWN = ("420", "30418"), ("210", "30312"), ("410", "30308")
FIRST, SECOND, THIRD = uuid(1), uuid(2), uuid(3)
NO_OVERRIDE = DissentOverride()


async def listed(
    clinic: Clinic,
    wanted: DocumentFilter | None = None,
    *,
    caller: Caller = GP,
    override: DissentOverride = NO_OVERRIDE,
    nhs_number: str = PATIENT,
) -> DocumentListOutcome:
    ids = MessageIds(clinic.mint(), DOCUMENT_LIST)
    query = DocumentListQuery(ids, nhs_number, override, wanted or DocumentFilter())
    return await clinic.record.list_documents(caller, query)


async def retrieved(
    clinic: Clinic,
    document_id: str = "",
    *,
    set_id: str = "",
    caller: Caller = GP,
    override: DissentOverride = NO_OVERRIDE,
    nhs_number: str = PATIENT,
) -> DocumentOutcome:
    query = DocumentQuery(MessageIds(clinic.mint(), DOCUMENT), nhs_number, document_id, set_id, override)
    return await clinic.record.retrieve_document(caller, query)


async def whole(
    clinic: Clinic, *, caller: Caller = LAWYER, override: DissentOverride = NO_OVERRIDE, nhs_number: str = PATIENT
) -> SubjectAccessOutcome:
    query = SubjectAccessQuery(MessageIds(clinic.mint(), SUBJECT_ACCESS_QUERY), nhs_number, override)
    return await clinic.record.retrieve_record(caller, query)


async def permissions(clinic: Clinic, *, caller: Caller = GP, nhs_number: str = PATIENT) -> ScrPermissionsOutcome:
    query = ScrPermissionsQuery(MessageIds(clinic.mint(), SCR_PERMISSIONS), nhs_number, "555000000102", "555000000102")
    return await clinic.record.check_scr_permissions(caller, query)


# --- what a question costs ------------------------------------------------------------------------------------------


async def test_what_is_not_asked_for_is_not_read(clinic: Clinic) -> None:
    """Whoever wants one event, or sends one, does not wait for every other that the patient ever had."""
    for event_id, replaces in ((FIRST, None), (SECOND, FIRST), (THIRD, SECOND)):
        await clinic.upload(event_id, replaces=replaces)
    with closing(sqlite3.connect(clinic.file, isolation_level=None)) as file:
        file.execute("UPDATE event SET details = x'00' WHERE event_id = ?", (FIRST,))
    with pytest.raises(StoreError):
        await clinic.list_events()
    with pytest.raises(StoreError):
        await clinic.retrieve(FIRST)
    assert (await clinic.retrieve(SECOND)).outcome.accepted
    assert (await retrieved(clinic, SECOND.lower())).outcome.accepted
    shown = await permissions(clinic)
    assert [each.event.event_id for each in shown.events] == [THIRD]
    assert codes((await clinic.retrieve(uuid(9))).outcome) == UNKNOWN
    later = await clinic.upload(uuid(4), replaces=THIRD)
    assert later.outcome is not None
    assert later.outcome.accepted
    withdrawn = await clinic.withdraw(uuid(4))
    assert withdrawn.outcome is not None
    assert withdrawn.outcome.accepted


# --- times ----------------------------------------------------------------------------------------------------------

DIGITS = "20240229103015"
LENGTHS = (4, 6, 8, 10, 12, 14)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_part_of_a_time_means_its_whole_period(length: int) -> None:
    """Spec: 20 §4.4: low from the start of the period, high to its end, both included."""
    part = DIGITS[:length]
    assert covers(TimeRange(part, part), DIGITS)
    assert covers(TimeRange(part, "2090"), DIGITS)
    assert covers(TimeRange("1990", part), DIGITS)


@pytest.mark.parametrize(
    ("low", "high", "time", "inside"),
    [
        ("20240229103015", "20240229103015", DIGITS, True),
        ("20240229103016", "2025", DIGITS, False),
        ("2023", "20240229103014", DIGITS, False),
        ("2023", "202401", DIGITS, False),
        ("202403", "2025", DIGITS, False),
        ("2025", "2023", DIGITS, False),
        ("20240229103015+0100", "20240229103015.999", DIGITS, True),
        # A document that says no more than its year begins with the year.
        ("20240101", "20240101", "2024", True),
        ("20240102", "2024", "2024", False),
    ],
)
def test_both_bounds_are_inside(low: str, high: str, time: str, inside: bool) -> None:
    assert covers(TimeRange(low, high), time) is inside


MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(lambda moment: moment.strftime("%Y%m%d%H%M%S"))


@given(MOMENTS, MOMENTS, MOMENTS, st.sampled_from(LENGTHS), st.sampled_from(LENGTHS))
def test_a_range_of_parts_holds_what_its_periods_hold(one: str, other: str, time: str, low: int, high: int) -> None:
    """The shorter a bound, the more it covers; and two ends of the right precision decide like plain numbers."""
    exact = one <= time <= other
    assert covers(TimeRange(one, other), time) is exact
    if exact:
        assert covers(TimeRange(one[:low], other[:high]), time)
    assert covers(TimeRange(one[:low], other[:high]), time) is (one[:low] <= time[:low] and time[:high] <= other[:high])


# --- filters --------------------------------------------------------------------------------------------------------


def row(number: int, *, effective: str = "20240101", kind: str = GP_SUMMARY, **metadata: str) -> EventRow:
    return EventRow(
        nhs_number=PATIENT,
        event_id=uuid(number),
        event_type=kind,
        interaction="REPC_IN150016UK05",
        status=EventStatus.NORMAL,
        effective_time=effective,
        stored_at=datetime(2024, 1, 1, 12, number, tzinfo=UTC),
        sender_asid="200000000115",
        from_party="Y90001-0000001",
        message_id=uuid(100 + number),
        wrapper_id=uuid(200 + number),
        document_offset=0,
        document_length=number * 10,
        name_length=10,
        declarations=b"",
        author=b"",
        metadata=metadata,
    )


@given(
    st.lists(st.tuples(MOMENTS, st.sampled_from([GP_SUMMARY, GP_INITIAL_SUMMARY])), max_size=6),
    st.tuples(MOMENTS, MOMENTS) | st.none(),
    st.sampled_from([GP_SUMMARY, GP_INITIAL_SUMMARY, "1"]) | st.none(),
)
def test_a_filter_wants_what_fits_all_of_it(
    documents: list[tuple[str, str]], date: tuple[str, str] | None, kind: str | None
) -> None:
    """Date and type together mean both; the order is the newest first, whatever was asked. Spec: 20 §4.4, §13."""
    rows = [row(number, effective=time, kind=of) for number, (time, of) in enumerate(documents, 1)]
    wanted = DocumentFilter(
        document_type=CodedValue(kind, OID_SNOMED) if kind else None, date=TimeRange(*date) if date else None
    )
    found = [event.event_id for event in matching(rows, wanted)]
    expected = [
        uuid(number)
        for number, (time, of) in enumerate(documents, 1)
        if (kind is None or of == kind) and (date is None or date[0] <= time <= date[1])
    ]
    assert found == expected[::-1]


def test_of_documents_of_one_instant_the_later_is_the_newer() -> None:
    same = [replace(row(number), stored_at=datetime(2024, 1, 1, tzinfo=UTC)) for number in (1, 2, 3)]
    assert [event.event_id for event in matching(same, DocumentFilter())] == [uuid(3), uuid(2), uuid(1)]


def test_a_type_is_code_and_system() -> None:
    rows = [row(1), row(2, eventTypeCodeSystem="1.2.3")]
    ours, theirs = CodedValue(GP_SUMMARY, OID_SNOMED), CodedValue(GP_SUMMARY, "1.2.3")
    assert matching(rows, DocumentFilter(document_type=ours)) == [rows[0]]
    assert matching(rows, DocumentFilter(document_type=theirs)) == [rows[1]]


SET = "9A1C2E34-0000-4000-8000-00000000AB01"


def test_a_set_holds_one_document_several_or_none() -> None:
    """Ambiguous is 30344; a set without documents is no refusal. Spec: 20 §8, §9.4."""
    one, other, stranger = row(1, setId=SET), row(2, setId=SET.lower()), row(3)
    query = DocumentQuery(MessageIds("", DOCUMENT), PATIENT, set_id=SET.lower())
    assert choose([one, stranger], query) == one
    assert choose([stranger], query) is None
    ambiguous = choose([one, other, stranger], query)
    assert isinstance(ambiguous, Decision)
    assert [(issue.code, issue.display) for issue in ambiguous.outcome.issues] == [
        ("410", "Logical inconsistency"),
        (
            "30344",
            f"[PSIS-30344] - More than one document satisfied the query criteria for supplied SetID [{SET.lower()}]",
        ),
    ]
    assert matching([one, other, stranger], DocumentFilter(set_id=SET)) == [other, one]
    assert describe(one, Directory()).set_id == SET


HEADING = CodedValue("163131000000108", OID_SNOMED)
TEMPLATE = (
    '<GPSummary xmlns="urn:hl7-org:v3">{0}<pertinentInformation2><pertinentCREType><code code="{1}" '
    f'codeSystem="{OID_SNOMED}"/></pertinentCREType></pertinentInformation2></GPSummary>'
)


PREFIXED = TEMPLATE.format("", HEADING.code).replace("<", "<x:").replace("<x:/", "</x:").replace("xmlns=", "xmlns:x=")


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (TEMPLATE.format("", HEADING.code), True),
        (TEMPLATE.format("", "163001000000103"), False),
        # The code of something else than a heading.
        (TEMPLATE.format(f'<code code="{HEADING.code}"/>', "163001000000103"), False),
        (TEMPLATE.format(f"<!-- {HEADING.code} -->", "163001000000103"), False),
        (TEMPLATE.format("", "&#49;63131000000108"), True),
        (PREFIXED, True),
        (TEMPLATE.format("", HEADING.code).replace("urn:hl7-org:v3", "urn:other"), False),
    ],
)
def test_a_heading_is_the_code_of_a_cre_type(document: str, found: bool) -> None:
    assert has_heading(document.encode(), HEADING) is found
    assert has_heading(document.encode(), CodedValue(HEADING.code)) is found
    assert not has_heading(document.encode(), CodedValue(HEADING.code, "1.2.3"))


async def test_a_search_through_many_documents_lets_others_go_in_between(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is found is the same in whatever portions; it is audited once."""
    for number in range(1, 9):
        await clinic.upload(uuid(number), heading_code=HEADING.code if number % 2 else "")
    wanted = DocumentFilter(cre_type=HEADING)
    whole = (await listed(clinic, wanted)).documents
    assert [each.event_id for each in whole] == [uuid(number) for number in (7, 5, 3, 1)]
    rows = len(await clinic.audit())
    monkeypatch.setattr("openscr.record.documents.PORTION", 1)
    order: list[str] = []

    async def search() -> None:
        assert (await listed(clinic, wanted)).documents == whole
        order.append("search")

    async def another() -> None:
        await listed(clinic)
        order.append("another")

    await asyncio.gather(search(), another())
    assert order == ["another", "search"]
    assert len(await clinic.audit()) == rows + 2


# --- what is told of a document -------------------------------------------------------------------------------------


def test_every_kind_of_author_is_told() -> None:
    """From the metadata of the upload alone. Spec: 20 §13, 10 §11.4."""
    directory = Directory(parties=[Party("Y", "Y90001", "Demo Practice")])
    person = describe(
        row(
            1,
            **{
                "author.type": "agentPersonSDS",
                "author/personIdCode": "5",
                "author/roleProfileIdCode": "6",
                "author/structuredName/prefix": "Dr",
                "author/structuredName/familyName": "Penrose",
                "author/structuredName/givenName1": "Asha",
                "author/structuredName/givenName2": "B",
                "sender.organisation": "Y90001",
            },
        ),
        directory,
    ).author
    assert (person.user_id, person.role_profile_id, person.organisation) == ("5", "6", "Y90001")
    assert person.name == (("prefix", "Dr"), ("family", "Penrose"), ("given", "Asha"), ("given", "B"))
    assert person.organisation_name == "Demo Practice"
    other = describe(
        row(
            1,
            **{
                "author.type": "agentPerson",
                "author/jobRoleCode": "R0260",
                "author/jobRoleCodeSystem": "1.2",
                "author/jobRoleDescription": "General Medical Practitioner",
                "author/unstructuredName": "Dr A Penrose",
            },
        ),
        directory,
    ).author
    assert (other.job_role, other.job_role_name) == (CodedValue("R0260", "1.2"), "General Medical Practitioner")
    assert other.name == (("", "Dr A Penrose"),)
    organisation = describe(
        row(
            1,
            **{
                "author.type": "agentOrgSDS",
                "author/idCode": "Z99999",
                "author/idCodeSystem": OID_ODS,
                "author/unstructuredName": "Example Lane Surgery",
                "sender.organisation": "Y90001",
            },
        ),
        directory,
    ).author
    assert (organisation.organisation, organisation.organisation_name) == ("Z99999", "Example Lane Surgery")
    assert organisation.name == ()


async def test_states_and_their_links(clinic: Clinic) -> None:
    """Replaced by whom, withdrawn by what; of one that came nullified there is no withdrawal to name. Spec: 20 §13."""
    await clinic.upload(FIRST)
    await clinic.upload(SECOND, replaces=FIRST)
    withdrawal = clinic.mint()
    await clinic.withdraw(SECOND, event_id=withdrawal)
    await clinic.upload(THIRD, status="nullified")
    documents = (await listed(clinic)).documents
    assert [(each.event_id, each.status, each.replaced_by, each.withdrawn_by) for each in documents] == [
        (THIRD, EventStatus.WITHDRAWN, None, None),
        (SECOND, EventStatus.WITHDRAWN, None, withdrawal),
        (FIRST, EventStatus.REPLACED, SECOND, None),
    ]
    for event_id in (FIRST, SECOND, THIRD):
        found = await retrieved(clinic, event_id.lower())
        assert found.document is not None
        assert found.content == clinic.documents[event_id]
        assert found.document.size == len(clinic.documents[event_id])


async def test_what_there_is_not(clinic: Clinic) -> None:
    """No record, no match, no such document, somebody else's document. Spec: 20 §8."""
    assert codes((await listed(clinic)).outcome) == NO_RECORD
    assert codes((await retrieved(clinic, FIRST)).outcome) == NO_RECORD
    assert codes((await retrieved(clinic, set_id=SET)).outcome) == NO_RECORD
    await clinic.upload(FIRST)
    nothing = await listed(clinic, DocumentFilter(date=TimeRange("1990", "1991")))
    assert (codes(nothing.outcome), nothing.documents) == (("AA",), ())
    of_no_set = await retrieved(clinic, set_id=SET)
    assert (codes(of_no_set.outcome), of_no_set.document) == (("AA",), None)
    assert codes((await retrieved(clinic, SECOND)).outcome) == UNKNOWN
    other = "9990000018"
    await clinic.upload(SECOND, nhs_number=other)
    assert codes((await retrieved(clinic, SECOND)).outcome) == UNKNOWN
    await clinic.index(PatientEntry(PATIENT, "merged", other))
    assert codes((await listed(clinic)).outcome) == ("410", "30307")
    await clinic.index(PatientEntry(PATIENT, "restricted"))
    assert codes((await listed(clinic)).outcome) == DENIED


async def test_the_audit_knows_what_was_asked_for(clinic: Clinic) -> None:
    """The criteria of a list are in its row, above all when nothing was found or told. Spec: 35 §7."""
    wanted = DocumentFilter(
        CodedValue("196981000000101", "1"), CodedValue("163131000000108"), TimeRange("2025", "202606"), SET
    )
    for upload in (False, True):
        if upload:
            await clinic.upload(FIRST)
        assert (await listed(clinic, wanted)).documents == ()
        content = (await clinic.last_audit()).content
        assert content["document_type"] == "196981000000101"
        assert content["cre_type"] == "163131000000108"
        assert content["date"] == "2025-202606"
        assert content["set_id"] == SET
    await listed(clinic)
    assert not {"document_type", "cre_type", "date", "set_id"} & set((await clinic.last_audit()).content)
    await listed(clinic, DocumentFilter(set_id="x" * 5000))
    assert len((await clinic.last_audit()).content["set_id"]) == 64


# --- consent × override, role ---------------------------------------------------------------------------------------

OVERRIDES = ("0", "1", "2", "3", "4", "5")


@pytest.mark.parametrize("code", OVERRIDES)
@pytest.mark.parametrize("consent", [Consent.ASK, Consent.YES, Consent.NO])
@pytest.mark.parametrize("caller", [GP, CLERK, LAWYER, NURSE, PORTER, FORMER, SYSTEM, STRANGER], ids=str)
async def test_documents_are_guarded_like_events(clinic: Clinic, caller: Caller, consent: Consent, code: str) -> None:
    """Cell by cell the same outcome and the same alerts as for the event list, listed and retrieved. Spec: 30 §9."""
    await clinic.upload(FIRST)
    await clinic.set_consent(consent)
    override = DissentOverride(code, "why")
    events = await clinic.list_events(caller=caller, override=override)
    alerts = [alert.reason for alert in await clinic.store.read_alerts()]
    for outcome in (
        (await listed(clinic, caller=caller, override=override)).outcome,
        (await retrieved(clinic, FIRST, caller=caller, override=override)).outcome,
    ):
        assert codes(outcome) == codes(events.outcome)
    assert [alert.reason for alert in await clinic.store.read_alerts()] == alerts * 3
    entry = await clinic.last_audit()
    assert (entry.action, entry.outcome) == (DOCUMENT, events.outcome.ack)
    assert entry.content["event_id"] == FIRST
    assert entry.content.get("override_code") == (None if code == "0" else code)


async def test_a_dissent_hides_whether_there_is_a_record(clinic: Clinic) -> None:
    """Consent comes before existence. Spec: 20 §8, §10.3."""
    await clinic.set_consent(Consent.NO)
    for outcome in ((await listed(clinic)).outcome, (await retrieved(clinic, FIRST)).outcome):
        assert codes(outcome) == DENIED
    await clinic.upload(FIRST)
    assert codes((await retrieved(clinic, SECOND)).outcome) == DENIED


async def test_a_person_may_be_demanded(tmp_path: Path) -> None:
    async with open_clinic(tmp_path, require_person_for_query=True) as clinic:
        await clinic.upload(FIRST)
        assert codes((await listed(clinic, caller=SYSTEM)).outcome) == DENIED
        assert codes((await listed(clinic)).outcome) == ("AA",)


async def test_the_answer_is_stored_with_the_decision(clinic: Clinic) -> None:
    """The row that delivers the answer is in the transaction that audits the query. Spec: 40 §8 step 14."""
    await clinic.upload(FIRST)

    def answer(found: DocumentListOutcome) -> OutboxRow:
        if not found.documents:
            raise RuntimeError("no row can be made")
        return clinic_row(clinic, found)

    query = DocumentListQuery(MessageIds(clinic.mint(), DOCUMENT_LIST), PATIENT)
    await clinic.record.list_documents(GP, query, answer=answer)
    (row,) = [each for each in await clinic.store.list_outbox() if each.interaction == "QUPC_IN160102UK05"]
    assert row.state.value == "open"
    before = len(await clinic.audit())
    nothing = replace(query, wanted=DocumentFilter(set_id=SET))
    with pytest.raises(RuntimeError):
        await clinic.record.list_documents(GP, nothing, answer=answer)
    assert len(await clinic.audit()) == before


def clinic_row(clinic: Clinic, found: DocumentListOutcome) -> OutboxRow:
    return OutboxRow(
        slot=slot_of(found.nhs_number),
        id=clinic.mint(),
        to_party=GP.party_key,
        service="psisquery",
        interaction="QUPC_IN160102UK05",
        conversation_id="c",
        ref_to_message_id="r",
        created_at=clinic.now,
        answer=b"{}",
    )


# --- subject access -------------------------------------------------------------------------------------------------


async def test_subject_access_shows_everything_and_is_always_alerted(clinic: Clinic) -> None:
    """Spec: 20 §7.2, §10.5."""
    await clinic.upload(FIRST)
    await clinic.upload(SECOND, replaces=FIRST)
    await clinic.withdraw(SECOND)
    await clinic.upload(THIRD)
    found = await whole(clinic)
    assert [(event.event_id, event.status) for event, _ in found.events] == [
        (THIRD, EventStatus.NORMAL),
        (FIRST, EventStatus.REPLACED),
        (SECOND, EventStatus.WITHDRAWN),
    ]
    for event, document in found.events:
        assert document == clinic.documents[event.event_id]
    (alert,) = await clinic.store.read_alerts()
    assert (alert.type, alert.reason, alert.user_id, alert.organisation) == (
        "2",
        "subject-access",
        "555000000501",
        "RZZ01",
    )
    entry = await clinic.last_audit()
    assert (entry.action, entry.outcome, entry.content["alert"]) == (SUBJECT_ACCESS_QUERY, "AA", alert.id)
    assert entry.content["events"] == "3"


@pytest.mark.parametrize("caller", [GP, CLERK, NURSE, PORTER, FORMER, SYSTEM, STRANGER], ids=str)
async def test_subject_access_needs_an_author_with_the_right(clinic: Clinic, caller: Caller) -> None:
    """B0082 and a known person, whatever the consent. Spec: 20 §10.5, 35 §9.3."""
    await clinic.upload(FIRST)
    assert codes((await whole(clinic, caller=caller)).outcome) == DENIED
    assert await clinic.store.read_alerts() == []
    assert (await clinic.last_audit()).content["reason"]


async def test_subject_access_under_a_dissent(clinic: Clinic) -> None:
    await clinic.upload(FIRST)
    await clinic.set_consent(Consent.NO)
    assert codes((await whole(clinic)).outcome) == DENIED
    assert await clinic.store.read_alerts() == []
    assert len((await whole(clinic, override=DissentOverride("2"))).events) == 1
    assert [alert.reason for alert in await clinic.store.read_alerts()] == ["2"]
    assert codes((await whole(clinic, nhs_number="9990000018")).outcome) == NO_RECORD


async def test_a_record_that_no_memory_should_hold(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before a byte of it is read. Spec: 20 §9.4 (30112)."""
    assert LARGEST_RECORD == 64 * 1024 * 1024
    await clinic.upload(FIRST)
    monkeypatch.setattr("openscr.record.views.LARGEST_RECORD", len(clinic.documents[FIRST]) - 1)
    assert codes((await whole(clinic)).outcome) == ("410", "30112")
    monkeypatch.setattr("openscr.record.views.LARGEST_RECORD", len(clinic.documents[FIRST]))
    assert codes((await whole(clinic)).outcome) == ("AA",)


# --- SCR applications -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("consent", [Consent.ASK, Consent.YES, Consent.NO])
async def test_an_scr_application_is_told_where_it_stands(clinic: Clinic, consent: Consent) -> None:
    """Current events and consent; after a dissent the consent alone, record or not. Spec: 20 §11.2, 30 §9."""
    await clinic.set_consent(consent)
    assert (await permissions(clinic)).events == ()
    await clinic.set_consent(Consent.ASK)
    await clinic.upload(FIRST)
    await clinic.upload(SECOND, replaces=FIRST)
    await clinic.set_consent(consent)
    told = await permissions(clinic)
    assert codes(told.outcome) == ("AA",)
    assert [each.event.event_id for each in told.events] == ([] if consent is Consent.NO else [SECOND])
    assert (told.store, told.view) == (consent, consent)
    assert (told.permission, told.relationship) == (PermissionToView(), LegitimateRelationship())
    assert await clinic.store.read_alerts() == []
    entry = await clinic.last_audit()
    assert entry.action == SCR_PERMISSIONS
    assert (entry.content["asker"], entry.content["looker"]) == ("555000000102", "555000000102")


async def test_strangers_learn_nothing_from_that_question(clinic: Clinic) -> None:
    await clinic.set_consent(Consent.NO)
    for caller in (PORTER, FORMER):
        assert codes((await permissions(clinic, caller=caller)).outcome) == DENIED
    await clinic.index(PatientEntry(PATIENT, "merged", "9990000018"))
    assert codes((await permissions(clinic)).outcome) == ("410", "30307")


async def test_recorded_relationships_are_told(clinic: Clinic) -> None:
    """Permission and relationship of the role profile, its organisation and its workgroups. Spec: 20 §11.2."""
    await clinic.permit(NURSE, hours=2)
    group = Holder(HolderKind.WORKGROUP, "555000000900")
    await clinic.relate(CLERK, holder=group, reason="06", hours=24)
    ids = MessageIds(clinic.mint(), SCR_PERMISSIONS)
    query = ScrPermissionsQuery(ids, PATIENT, "555000000102", "555000000302", workgroups=("555000000900",))
    told = await clinic.record.check_scr_permissions(GP, query)
    assert told.permission.exists
    assert (told.permission.author, told.permission.assessor_id) == ("555000000302", "555000000302")
    assert told.permission.assessor_group == ""
    assert len(told.permission.start) == len(told.permission.end) == 14
    assert told.permission.start < told.permission.end
    assert (told.relationship.exists, told.relationship.claimed, told.relationship.referred) == (True, False, True)
    assert (told.relationship.reason, told.relationship.staff) == ("06", "555000000900")
    other = await clinic.record.check_scr_permissions(GP, replace(query, role_profile="555000000502", workgroups=()))
    assert not other.permission.exists
    assert not other.relationship.exists
    by_group = replace(query, role_profile="", workgroups=(), workgroup="555000000900")
    assert (await clinic.record.check_scr_permissions(GP, by_group)).relationship.exists


async def test_the_extended_list(clinic: Clinic) -> None:
    """All events with the identity of their authors. Spec: 20 §11.3."""
    await clinic.upload(FIRST)
    await clinic.upload(SECOND, replaces=FIRST)
    query = EventListQuery(MessageIds(clinic.mint(), "SCRA_EXTENDEDRESPONSE_INSM01"), PATIENT)
    found = await clinic.record.list_extended(GP, query)
    assert [(each.event.event_id, each.event.status) for each in found.events] == [
        (SECOND, EventStatus.NORMAL),
        (FIRST, EventStatus.REPLACED),
    ]
    author = found.events[0].author
    assert (author.user_id, author.role_profile_id, author.job_role) == ("555000000101", "555000000102", "R8000")
    assert author.asid == "200000000115"
    assert author.time
    await clinic.set_consent(Consent.NO)
    assert codes((await clinic.record.list_extended(GP, query)).outcome) == DENIED
    assert (await clinic.record.list_extended(GP, query)).events == ()
