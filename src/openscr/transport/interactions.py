"""The interaction table: what the service takes, on which channel, and who handles it.

Spec: 40 §3.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from openscr.codes import (
    ACS_GET,
    ACS_HAS,
    ACS_SET,
    ALERT,
    DOCUMENT_QUERIES,
    EVENT,
    EVENT_LIST,
    EVENT_LIST_SM,
    INITIAL_UPLOAD,
    POLLING_UPLOAD,
    SCR_PERMISSIONS,
    SUBJECT_ACCESS,
    UPLOAD,
    WITHDRAW,
    WITHDRAW_INITIAL,
)


class Channel(StrEnum):
    """How a request came: the kinds of Spine paths. Spec: 40 §2, §7."""

    SOAP = "soap"
    EBXML = "ebxml"
    POLLING = "polling"
    FETCH = "fetch"
    FHIR = "fhir"


class Domain(StrEnum):
    """Which part of the service an interaction belongs to."""

    SUMMARY = "summary"
    QUERY = "query"
    CONSENT = "consent"
    ALERT = "alert"


@dataclass(frozen=True, slots=True)
class Interaction:
    """One row of the table: its domain, and the channels that take it.

    ``express`` is asynchronous without acknowledgement or repetition: the answer is a message of its own, sent once.
    """

    service: str
    name: str
    domain: Domain
    soap: bool = False
    reliable: bool = False
    express: bool = False
    polling: bool = False


INTERACTIONS: Final = {
    (row.service, row.name): row
    for row in (
        Interaction("psis", INITIAL_UPLOAD, Domain.SUMMARY, reliable=True),
        Interaction("psis", UPLOAD, Domain.SUMMARY, reliable=True),
        Interaction("psis", POLLING_UPLOAD, Domain.SUMMARY, polling=True),
        Interaction("psis", WITHDRAW_INITIAL, Domain.SUMMARY, reliable=True),
        Interaction("psis", WITHDRAW, Domain.SUMMARY, reliable=True),
        Interaction("psisquery", EVENT_LIST, Domain.QUERY, soap=True),
        Interaction("psisquery", EVENT_LIST_SM, Domain.QUERY, soap=True),
        Interaction("psisquery", EVENT, Domain.QUERY, soap=True),
        *(Interaction("psisquery", name, Domain.QUERY, soap=True, express=True) for name in DOCUMENT_QUERIES),
        Interaction("psisquery", SUBJECT_ACCESS, Domain.QUERY, soap=True),
        Interaction("psisquery", SCR_PERMISSIONS, Domain.QUERY, soap=True),
        Interaction("lrsquery", SCR_PERMISSIONS, Domain.QUERY, soap=True),
        Interaction("lrs", ACS_SET, Domain.CONSENT, soap=True, reliable=True),
        Interaction("lrsquery", ACS_GET, Domain.CONSENT, soap=True),
        Interaction("lrsquery", ACS_HAS, Domain.CONSENT, soap=True),
        Interaction("alerts", ALERT, Domain.ALERT, reliable=True),
    )
}
"""Rows by (service, interaction). An interaction on a channel that its row does not give is unsupported (101)."""

SYNC_PATHS: Final = frozenset(
    {"/sync-service", "/syncservice-psis/psis", "/syncservice-lrs/acf", "/syncservice-pds/pds"}
)
ALERT_PATH: Final = "/clinical/alert"
"""Where a privacy alert is posted as FHIR JSON. Spec: 40 §2, 60 §12.5."""

RELIABLE_PATH: Final = "/reliablemessaging/reliablerequest"
"""The path in the contracts of every interaction that is taken reliably. Spec: 40 §2."""

QUERY_PATH: Final = "/reliablemessaging/queryrequest"
"""The path in the contracts of every interaction that is an express message. Spec: 40 §2."""

EBXML_PATHS: Final = frozenset(
    {
        RELIABLE_PATH,
        QUERY_PATH,
        "/reliablemessaging/forwardreliable",
        "/reliablemessaging/intermediary",
    }
)

CONTRACT_PATHS: Final = {
    row.name: QUERY_PATH if row.express else RELIABLE_PATH
    for row in INTERACTIONS.values()
    if row.express or row.reliable
}
"""Where a contract sends each interaction that goes over ebXML. Spec: 40 §2."""
