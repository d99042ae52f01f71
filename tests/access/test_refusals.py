"""The refusals as data: what each answers, and what an application alone may do. Spec: 35 §4.4; 60 §4.2."""

import pytest

from openscr.access import refusals
from openscr.access.refusals import Refusal, refuse_application

ALL = {name: value for name, value in vars(refusals).items() if isinstance(value, Refusal)}
SUPPORT = "Your app has insufficient permissions to use this method. Please contact support."


@pytest.mark.parametrize(
    ("method", "resource"), [("GET", "/DocumentReference"), ("GET", "/Bundle"), ("POST", "/Bundle")]
)
def test_what_an_application_may_do(method: str, resource: str) -> None:
    assert refuse_application(method, resource) is None


@pytest.mark.parametrize(
    ("method", "resource"),
    [
        ("POST", "/$setPermission"),
        ("POST", "/AuditEvent"),
        ("POST", "/DocumentReference"),
        ("GET", "/$setPermission"),
        ("GET", "/governance/session"),
        ("GET", "/bundle"),
    ],
)
def test_what_needs_a_user(method: str, resource: str) -> None:
    refusal = refuse_application(method, resource)
    assert refusal is not None
    assert (refusal.status, refusal.issue, refusal.code, refusal.display) == (
        401,
        "unknown",
        "UNKNOWN_ERROR",
        "Unknown Error",
    )
    assert refusal.text == f"Application-restricted access is not available on this {method} request"
    assert refusal.diagnostics == SUPPORT


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("resource", ["/Bundle", "/$setPermission"])
def test_methods_that_no_application_may_use(method: str, resource: str) -> None:
    refusal = refuse_application(method, resource)
    assert refusal is not None
    assert (refusal.status, refusal.issue, refusal.code) == (403, "forbidden", "INVALID_METHOD")
    assert refusal.display == "Cannot update resource with Application-Restricted access token"
    assert refusal.diagnostics == SUPPORT


@pytest.mark.parametrize("name", ALL)
def test_every_refusal_is_complete(name: str) -> None:
    """Whoever is to sign in again is challenged, nobody else; the audit has a word for each."""
    refusal = ALL[name]
    assert refusal.status in {400, 401, 403, 503}
    assert bool(refusal.challenge) == (refusal.status == 401)
    assert refusal.reason.replace("_", "").isalpha()
    assert refusal.display
    assert (refusal.issue, refusal.retry_after > 0) in {
        ("forbidden", False),
        ("value", False),
        ("invalid", False),
        ("transient", True),
    }


def test_no_two_refusals_are_the_same_for_the_audit_but_those_of_closed_roles() -> None:
    reasons = sorted(refusal.reason for refusal in ALL.values())
    assert {reason for reason in reasons if reasons.count(reason) > 1} == {"role_closed"}
