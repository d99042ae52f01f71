"""Every rule that Spine holds against a message, as data, and the engine that judges by them.

`RULE_BOOK` has them all; a reader judges with the set of its own interaction. Rules of the envelopes are with the
envelopes (`openscr.transport`), since they are judged before there is an interaction.

Spec: 10 §11; 20 §12; 30 §5; 40 §4.2, §10.4.
"""

from typing import Final

from openscr.hl7.rules import alerts, consent, consent_wrapper, documents, queries, scr_application, summaries
from openscr.hl7.rules.book import Rule, RuleSet, Words, in_document_order

__all__ = ["RULE_BOOK", "Rule", "RuleSet", "Words", "in_document_order", "rules_of"]

RULE_BOOK: Final[tuple[RuleSet, ...]] = (
    summaries.UPLOAD_WRAPPER,
    summaries.UPLOAD_COMMON,
    summaries.UPLOAD_SUBJECT,
    summaries.SUMMARY,
    summaries.WITHDRAWAL_WRAPPER,
    summaries.WITHDRAWAL_COMMON,
    summaries.WITHDRAWAL_SUBJECT,
    summaries.WITHDRAWAL,
    queries.QUERY_WRAPPER,
    queries.EVENT_LIST_QUERY,
    queries.EVENT_QUERY,
    documents.DOCUMENT_LIST_QUERY,
    documents.DOCUMENT_LIST_BY_TYPE_QUERY,
    documents.DOCUMENT_LIST_BY_DATE_QUERY,
    documents.DOCUMENT_QUERY,
    documents.BARE_QUERY,
    scr_application.PERMISSIONS_WRAPPER,
    scr_application.PERMISSIONS_QUERY,
    queries.QUERIED_PATIENT,
    *consent_wrapper.CONSENT_WRAPPERS.values(),
    consent_wrapper.LONE_WRAPPER,
    consent_wrapper.PARTICIPANTS,
    consent.SET_REQUEST,
    consent.PERMISSION_WORD,
    consent.GET_REQUEST,
    consent.HAS_REQUEST,
    *consent.ASKED_PATIENT.values(),
    alerts.ALERT_WRAPPER,
    alerts.ALERT_ACT,
    alerts.ALERT_EVENT,
)
"""All sets, in the order in which a message meets them."""


def rules_of(interaction: str) -> tuple[Rule, ...]:
    """Return every rule that a message of this interaction is held against, in the order in which it is judged."""
    return tuple(rule for rules in RULE_BOOK if interaction in rules.interactions for rule in rules.rules)
