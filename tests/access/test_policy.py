"""Author, role and activity of every operation. Spec: 35 §9.2, §9.3; 20 §6, §10.2."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscr.access.matrix import load_matrix
from openscr.access.policy import AccessPolicy, Operation, Reason
from openscr.directory.model import Directory
from openscr.spine import Caller, DissentOverride, Person

MATRIX = load_matrix()
UPLOAD, WITHDRAW, VIEW, SUBJECT_ACCESS, SET, GET, ALERT, *_ = Operation
GP, VIEWER, BATCH, DISABLED = "200000000115", "200000000116", "200000000117", "200000000118"

DOCTOR = Person("555000000101", "555000000102", "S8000:G8000:R8000")
RECEPTIONIST = Person("555000000201", "555000000202", "R8008")
NURSE = Person("555000000301", "555000000302", "R8001")
NURSE_OTHER_ROLE = Person("555000000301", "555000000303", "R8003")
PRIVACY_OFFICER = Person("555000000401", "555000000402", "R0001")
LEGAL = Person("555000000501", "555000000502", "R8000")
WIDENING_ONLY = Person("555000000911", "555000000912", "R8000")
STRANGER = Person("555000000999", "555000000999", "R8000")


def policy(**switches: Any) -> AccessPolicy:
    arguments = {"unknown_author": "accept", "clock": lambda: datetime(2026, 11, 22, 12, tzinfo=UTC), **switches}
    return AccessPolicy(matrix=MATRIX, **arguments)


def decide(
    directory: Directory,
    operation: Operation,
    person: Person | None,
    *,
    asid: str = GP,
    code: str = "0",
    text: str = "",
    payload_author: Person | None = None,
    **switches: Any,
) -> tuple[bool, str]:
    authorisation = policy(**switches).authorise(
        directory,
        operation,
        Caller(asid, "Y90001-0000001", person),
        override=DissentOverride(code, text),
        payload_author=payload_author,
    )
    return authorisation.allowed, authorisation.reason


# --- who is the author ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "reason"),
    [
        (Person("555000000701", "555000000702", "R8000"), Reason.ROLE_CLOSED),
        (Person("555000000801", "555000000802", "R8000"), Reason.USER_INACTIVE),
        (Person("555000000201", "555000000102", "R8000"), Reason.AUTHOR_MISMATCH),
        (Person("", "555000000102", "R8000"), Reason.AUTHOR_MISMATCH),
        (Person("555000000101", "555000000102", "R8001"), Reason.AUTHOR_MISMATCH),
        (Person("555000000101", "555000000102", "S8000:G8000:R8001"), Reason.AUTHOR_MISMATCH),
        (Person("555000000901", "555000000902", "R8000"), Reason.ORGANISATION_MISMATCH),
    ],
)
@pytest.mark.parametrize("operation", list(Operation))
def test_a_known_author_that_does_not_fit_is_refused_whatever_is_asked(
    directory: Directory, operation: Operation, person: Person, reason: Reason
) -> None:
    assert decide(directory, operation, person) == (False, reason)


def test_job_roles_are_equal_after_the_last_colon(directory: Directory) -> None:
    for spelling in ("R8000", "S8000:G8000:R8000", ""):
        assert decide(directory, UPLOAD, Person("555000000101", "555000000102", spelling)) == (True, "")
    assert decide(directory, VIEW, Person("555000000401", "555000000402", "R0001")) == (False, "activity_missing")


def test_a_role_is_closed_from_its_day_on_in_uk_time(directory: Directory) -> None:
    person = Person("555000000701", "555000000702", "R8000")
    before, after = datetime(2026, 2, 28, 23, 59, tzinfo=UTC), datetime(2026, 3, 1, 0, 0, tzinfo=UTC)
    assert decide(directory, VIEW, person, clock=lambda: before) == (True, "")
    assert decide(directory, VIEW, person, clock=lambda: after) == (False, "role_closed")


def test_the_organisation_of_a_system_is_its_party_s_unless_it_names_others(directory: Directory) -> None:
    """The batch system names none, so it acts for its practice alone."""
    assert decide(directory, VIEW, NURSE, asid=GP) == (True, "")
    assert decide(directory, VIEW, NURSE, asid=BATCH) == (False, "organisation_mismatch")
    assert decide(directory, VIEW, DOCTOR, asid=BATCH) == (True, "")


def test_the_result_holds_the_verified_person_and_the_organisation_it_acts_for(directory: Directory) -> None:
    allowed = policy().authorise(directory, VIEW, Caller(GP, "Y90001-0000001", NURSE))
    assert (allowed.person, allowed.organisation) == (NURSE, "RZZ01")
    assert allowed.system is directory.systems[GP]

    refused = policy().authorise(directory, WITHDRAW, Caller(GP, "Y90001-0000001", NURSE))
    assert (refused.allowed, refused.person, refused.organisation) == (False, NURSE, "RZZ01")

    for person in (None, STRANGER, Person("555000000101", "555000000202", "R8000")):
        unverified = policy().authorise(directory, UPLOAD, Caller(GP, "Y90001-0000001", person))
        assert (unverified.person, unverified.organisation) == (None, "Y90001")


def test_an_unregistered_or_disabled_system_is_refused_whoever_speaks(directory: Directory) -> None:
    assert decide(directory, VIEW, DOCTOR, asid="200000000000") == (False, "system_unknown")
    assert decide(directory, GET, None, asid=DISABLED) == (False, "system_disabled")


# --- without a person -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "asid", "code", "allowed"),
    [
        (UPLOAD, GP, "0", True),
        (UPLOAD, BATCH, "0", False),
        (WITHDRAW, GP, "0", False),
        (SET, GP, "0", False),
        (SET, BATCH, "0", True),
        (GET, GP, "0", True),
        (ALERT, GP, "0", True),
        (VIEW, GP, "0", True),
        (VIEW, GP, "4", True),
        (VIEW, GP, "1", False),
        (VIEW, GP, "2", False),
        (VIEW, GP, "3", False),
        (VIEW, GP, "5", False),
        (SUBJECT_ACCESS, GP, "0", False),
        (SUBJECT_ACCESS, BATCH, "0", False),
    ],
)
def test_what_a_system_may_do_by_itself(
    directory: Directory, operation: Operation, asid: str, code: str, allowed: bool
) -> None:
    reason = "" if allowed else "author_missing"
    assert decide(directory, operation, None, asid=asid, code=code, text="why") == (allowed, reason)


def test_queries_need_a_person_where_the_deployment_says_so(directory: Directory) -> None:
    for code in ("0", "4"):
        assert decide(directory, VIEW, None, code=code, require_person_for_query=True) == (False, "author_missing")
        assert decide(directory, VIEW, NURSE, code=code, require_person_for_query=True) == (True, "")
        assert decide(directory, VIEW, STRANGER, code=code, require_person_for_query=True) == (False, "author_unknown")
    assert decide(directory, GET, None, require_person_for_query=True) == (True, "")


def test_an_alert_of_nobody_is_taken_where_unknown_authors_are(directory: Directory) -> None:
    """A FHIR alert that names its user in itself alone: at the sender's word, or not at all. Spec: 35 §9.2."""
    assert decide(directory, ALERT, None, unknown_author="refuse") == (False, "author_missing")
    assert decide(directory, ALERT, DOCTOR, unknown_author="refuse") == (True, "")


def test_under_the_old_vocabulary_code_4_is_an_override_and_needs_a_known_person(directory: Directory) -> None:
    old = {"override_vocabulary": "4.2.00"}
    assert decide(directory, VIEW, None, code="4", **old) == (False, "author_missing")
    assert decide(directory, VIEW, STRANGER, code="4", **old) == (False, "author_unknown")
    assert decide(directory, VIEW, NURSE, code="4", **old) == (True, "")


# --- a person that the directory does not know ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "asid", "code", "allowed"),
    [
        (UPLOAD, GP, "0", True),
        (UPLOAD, BATCH, "0", False),
        (VIEW, GP, "0", True),
        (VIEW, GP, "4", True),
        (VIEW, GP, "1", False),
        (VIEW, GP, "5", False),
        (GET, GP, "0", True),
        (SUBJECT_ACCESS, GP, "0", False),
        (SET, GP, "0", False),
        (SET, BATCH, "0", False),
        (WITHDRAW, GP, "0", False),
        (ALERT, GP, "0", False),
    ],
)
def test_an_unknown_author_counts_as_none_where_that_is_accepted_and_enough(
    directory: Directory, operation: Operation, asid: str, code: str, allowed: bool
) -> None:
    reason = "author_unverified" if allowed else "author_unknown"
    assert decide(directory, operation, STRANGER, asid=asid, code=code, text="why") == (allowed, reason)


@pytest.mark.parametrize("operation", list(Operation))
def test_a_live_service_refuses_unknown_authors(directory: Directory, operation: Operation) -> None:
    assert decide(directory, operation, STRANGER, unknown_author="refuse") == (False, "author_unknown")


# --- what the active role may do ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "person", "allowed"),
    [
        (UPLOAD, DOCTOR, True),
        (UPLOAD, RECEPTIONIST, False),
        (WITHDRAW, DOCTOR, True),
        (WITHDRAW, LEGAL, False),
        (SET, DOCTOR, True),
        (SET, RECEPTIONIST, False),
        (SET, WIDENING_ONLY, False),
        (GET, DOCTOR, True),
        (GET, RECEPTIONIST, True),
        (GET, WIDENING_ONLY, True),
        (GET, PRIVACY_OFFICER, False),
        (ALERT, RECEPTIONIST, True),
        (ALERT, NURSE_OTHER_ROLE, True),
        (ALERT, PRIVACY_OFFICER, True),
        (VIEW, RECEPTIONIST, True),
        (VIEW, NURSE, True),
        (VIEW, NURSE_OTHER_ROLE, False),
        (VIEW, WIDENING_ONLY, False),
        (VIEW, PRIVACY_OFFICER, False),
        (SUBJECT_ACCESS, DOCTOR, False),
        (SUBJECT_ACCESS, RECEPTIONIST, False),
        (SUBJECT_ACCESS, LEGAL, True),
        (SUBJECT_ACCESS, WIDENING_ONLY, True),
    ],
)
def test_the_active_role_and_no_other_carries_the_activity(
    directory: Directory, operation: Operation, person: Person, allowed: bool
) -> None:
    assert decide(directory, operation, person) == (allowed, "" if allowed else "activity_missing")


@pytest.mark.parametrize("code", ["1", "2", "3"])
def test_subject_access_overrides_a_dissent_as_any_look_does(directory: Directory, code: str) -> None:
    """An override needs the view right beside B0082, whatever is looked at. Spec: 35 §9.3."""
    assert decide(directory, SUBJECT_ACCESS, LEGAL, code=code, text="why") == (True, "")
    refused = (False, "override_activity_missing")
    assert decide(directory, SUBJECT_ACCESS, WIDENING_ONLY, code=code, text="why") == refused


@pytest.mark.parametrize(
    ("person", "code", "text", "reason"),
    [
        (LEGAL, "1", "", ""),
        (LEGAL, "2", "", ""),
        (LEGAL, "3", "", ""),
        (NURSE, "1", "why", "override_activity_missing"),
        (NURSE, "3", "why", "override_activity_missing"),
        (DOCTOR, "1", "unconscious", ""),
        (DOCTOR, "1", "", "override_activity_missing"),
        (DOCTOR, "1", " \n", "override_activity_missing"),
        (DOCTOR, "2", "unconscious", "override_activity_missing"),
        (WIDENING_ONLY, "1", "unconscious", "activity_missing"),
        (WIDENING_ONLY, "2", "", "activity_missing"),
        (NURSE, "4", "", ""),
        (NURSE, "5", "", ""),
        (NURSE_OTHER_ROLE, "5", "", "activity_missing"),
        (LEGAL, "6", "", "override_unknown"),
        (LEGAL, "", "", "override_unknown"),
    ],
)
def test_overrides_need_a_view_right_and_their_own(
    directory: Directory, person: Person, code: str, text: str, reason: str
) -> None:
    assert decide(directory, VIEW, person, code=code, text=text) == (not reason, reason)


def test_overrides_matter_for_views_only(directory: Directory) -> None:
    assert decide(directory, UPLOAD, DOCTOR, code="9") == (True, "")
    assert decide(directory, UPLOAD, STRANGER, code="1") == (True, "author_unverified")


def test_a_system_that_checks_roles_itself_is_trusted_only_where_the_deployment_says_so(directory: Directory) -> None:
    assert decide(directory, WITHDRAW, NURSE) == (False, "activity_missing")
    assert decide(directory, WITHDRAW, NURSE, trust_system_flags=True) == (True, "")
    assert decide(directory, WITHDRAW, NURSE, asid=VIEWER, trust_system_flags=True) == (False, "activity_missing")
    assert decide(directory, WITHDRAW, None, trust_system_flags=True) == (False, "author_missing")
    assert decide(directory, WITHDRAW, STRANGER, trust_system_flags=True) == (False, "author_unknown")


# --- withdrawals ----------------------------------------------------------------------------------------------------


def test_a_withdrawal_may_be_authored_by_the_person_inside_it(directory: Directory) -> None:
    inside = Person("555000000101", "555000000102", "")
    authorisation = policy().authorise(directory, WITHDRAW, Caller(GP, "P"), payload_author=inside)
    assert authorisation.allowed
    assert authorisation.person == Person("555000000101", "555000000102", "R8000")


def test_the_author_of_the_control_act_comes_before_the_one_inside(directory: Directory) -> None:
    assert decide(directory, WITHDRAW, NURSE, payload_author=DOCTOR) == (False, "activity_missing")
    assert decide(directory, WITHDRAW, STRANGER, payload_author=DOCTOR) == (False, "author_unknown")
    assert decide(directory, WITHDRAW, None, payload_author=STRANGER) == (False, "author_unknown")


def test_only_withdrawals_have_an_author_inside(directory: Directory) -> None:
    assert decide(directory, SET, None, payload_author=DOCTOR) == (False, "author_missing")


def test_subject_access_is_never_left_to_the_system(directory: Directory) -> None:
    """Whoever is shown everything has the right to it here, whatever its system says it checks. Spec: 20 §10.5."""
    assert decide(directory, SUBJECT_ACCESS, DOCTOR, trust_system_flags=True) == (False, "activity_missing")
    assert decide(directory, SUBJECT_ACCESS, LEGAL, trust_system_flags=True) == (True, "")
    assert decide(directory, SUBJECT_ACCESS, LEGAL, code="6") == (False, "override_unknown")


# --- whatever is asked ----------------------------------------------------------------------------------------------


@given(
    operation=st.sampled_from(Operation),
    asid=st.sampled_from([GP, VIEWER, BATCH, DISABLED, "0"]),
    person=st.none()
    | st.builds(
        Person,
        st.sampled_from(["555000000101", "555000000301", "555000000501", "x"]),
        st.sampled_from(["555000000102", "555000000302", "555000000303", "555000000502", "x"]),
        st.sampled_from(["R8000", "S:G:R8001", "R8003", ""]),
    ),
    code=st.sampled_from(["0", "1", "2", "3", "4", "5", "x"]),
    text=st.sampled_from(["", "why"]),
    unknown=st.sampled_from(["accept", "refuse"]),
    person_required=st.booleans(),
)
def test_invariants_of_every_decision(
    directory: Directory,
    operation: Operation,
    asid: str,
    person: Person | None,
    code: str,
    text: str,
    unknown: str,
    person_required: bool,
) -> None:
    decision = policy(unknown_author=unknown, require_person_for_query=person_required).authorise(
        directory, operation, Caller(asid, "P", person), override=DissentOverride(code, text)
    )
    assert decision.reason in set(Reason)
    if not decision.allowed:
        assert decision.reason
        return
    assert decision.reason in {"", "author_unverified"}
    assert decision.system is directory.systems[asid]
    assert decision.system.enabled
    if decision.person is None:
        assert operation not in (Operation.WITHDRAW, Operation.SUBJECT_ACCESS)
        assert operation is not Operation.VIEW or (code in {"0", "4"} and not person_required)
        assert (person is None) == (decision.reason == "")
    else:
        found = directory.role(decision.person.role_profile_id)
        assert found is not None
        user, role = found
        assert user.user_id == decision.person.user_id
        assert role.ods == decision.organisation
        # An alert asks for no activity: whoever may look may also say that they did. Spec: 35 §6.1.
        needed = {"B0370", "B0380", "B8029", "B0264", "B0020"}
        assert operation is Operation.RAISE_ALERT or role.activities & needed
        assert operation is not Operation.VIEW or code not in {"2", "3"} or "B0082" in role.activities
        assert operation is not Operation.SUBJECT_ACCESS or "B0082" in role.activities
