"""`check_strict`: which grammar judges which message, and what is found as findings.

Spec: 10 §11.5, 20 §1, 30 §1.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

from lxml import etree

from openscr import codes
from openscr.errors import Issue
from openscr.hl7.rules.book import in_document_order
from openscr.hl7.strict import alerts, answers, consent, documents, queries, summaries, withdrawals
from openscr.hl7.strict.grammar import ElementType, compile_types
from openscr.hl7.strict.judge import Faults, judge
from openscr.hl7.strict.pointers import find_dangling
from openscr.hl7.wrapper import HL7, Finding, local_name


@dataclass(frozen=True, slots=True)
class _Table:
    """The grammar of an interaction, the family of its rule, and the element of its payload that may come alone."""

    message: ElementType
    family: str
    document: ElementType | None = None


_GP, _WD, _PSIS, _ACS, _ALERT = "gp-strict", "wd-strict", "psis-strict", "acs-strict", "alert-strict"
_TABLES: Final = {
    codes.INITIAL_UPLOAD: _Table(summaries.INITIAL_MESSAGE, _GP, summaries.INITIAL_SUMMARY),
    codes.UPLOAD: _Table(summaries.UPDATE_MESSAGE, _GP, summaries.UPDATE_SUMMARY),
    codes.POLLING_UPLOAD: _Table(summaries.POLLING_MESSAGE, _GP, summaries.UPDATE_SUMMARY),
    codes.WITHDRAW_INITIAL: _Table(withdrawals.WITHDRAWAL_MESSAGE, _WD, withdrawals.WITHDRAWAL),
    codes.WITHDRAW: _Table(withdrawals.WITHDRAWAL_MESSAGE, _WD, withdrawals.WITHDRAWAL),
    codes.ACKNOWLEDGEMENT: _Table(answers.ACKNOWLEDGEMENT_MESSAGE, _GP),
    codes.EVENT_LIST: _Table(queries.EVENT_LIST_QUERY, _PSIS),
    codes.EVENT_LIST_SM: _Table(queries.EVENT_LIST_QUERY, _PSIS),
    codes.EVENT: _Table(queries.EVENT_QUERY, _PSIS),
    codes.EVENT_LIST_ANSWER: _Table(answers.EVENT_LIST, _PSIS),
    codes.EVENT_LIST_SM_ANSWER: _Table(answers.EVENT_LIST_SM, _PSIS),
    codes.EVENT_ANSWER: _Table(answers.EVENT, _PSIS),
    codes.QUERY_FAILED: _Table(answers.REFUSAL_MESSAGE, _PSIS),
    codes.SUBJECT_ACCESS: _Table(queries.EVENT_LIST_QUERY, _PSIS),
    codes.SUBJECT_ACCESS_ANSWER: _Table(answers.WHOLE_RECORD, _PSIS),
    codes.DOCUMENT_LIST: _Table(queries.DOCUMENT_LIST_QUERY, _PSIS),
    codes.DOCUMENT_QUERIES[codes.DOCUMENT_LIST]: _Table(documents.DOCUMENT_LIST, _PSIS),
    codes.DOCUMENT: _Table(queries.DOCUMENT_QUERY, _PSIS),
    codes.DOCUMENT_QUERIES[codes.DOCUMENT]: _Table(documents.DOCUMENT, _PSIS),
    codes.DOCUMENT_LIST_BY_TYPE: _Table(queries.DOCUMENTS_BY_TYPE_QUERY, _PSIS),
    codes.DOCUMENT_QUERIES[codes.DOCUMENT_LIST_BY_TYPE]: _Table(documents.DOCUMENT_LIST, _PSIS),
    codes.DOCUMENT_LIST_BY_DATE: _Table(queries.DOCUMENTS_BY_DATE_QUERY, _PSIS),
    codes.DOCUMENT_QUERIES[codes.DOCUMENT_LIST_BY_DATE]: _Table(documents.DOCUMENT_LIST, _PSIS),
    codes.DOCUMENT_LIST_ALIAS: _Table(queries.DOCUMENT_LIST_QUERY, _PSIS),
    codes.DOCUMENT_ALIAS: _Table(queries.DOCUMENT_QUERY, _PSIS),
    codes.SCR_PERMISSIONS: _Table(queries.PORTAL_QUERY, _PSIS),
    codes.ACS_SET: _Table(consent.SET_REQUEST, _ACS),
    codes.ACS_GET: _Table(consent.GET_REQUEST, _ACS),
    codes.ACS_HAS: _Table(consent.HAS_REQUEST, _ACS),
    codes.ACS_GET_ANSWER: _Table(consent.GET_ANSWER, _ACS),
    codes.ACS_HAS_ANSWER: _Table(consent.HAS_ANSWER, _ACS),
    codes.ALERT: _Table(alerts.ALERT_MESSAGE, _ALERT),
}
STRICT_INTERACTIONS: Final = frozenset(_TABLES)
"""The interactions that `check_strict` has a grammar of."""

_DOCUMENTS: Final = frozenset({f"{HL7}GPSummary", f"{HL7}MessageWithdrawal"})
_UPLOADED: Final = etree.XPath("h:ControlActEvent/h:subject/h:GPSummary", namespaces={"h": codes.HL7_NS})
KEY: Final = "STRICT"
"""Label of these findings; Spine has none, for it does not look so closely. Spec: 10 §11.5."""


@cache
def _compiled(interaction: str) -> _Table:
    table = _TABLES[interaction]
    compile_types(table.message)
    if table.document is not None:
        compile_types(table.document)
    return table


def check_strict(element: etree._Element, interaction: str) -> list[Finding]:
    """Judge a message as the schemas do, from our own tables, and look for pointers that lead nowhere.

    ``element`` is the root of an interaction, or a ``GPSummary`` or ``MessageWithdrawal`` by itself; ``interaction``
    says what it is (``REPC_IN150016UK05``), one of `STRICT_INTERACTIONS`. This is what level `strict` adds to the
    rules of level `spine`, which are not looked at here. A message that was sent reliably and one of the polling
    channel (``SM05``, ``SM04``) differ in the interaction id alone.

    Returns findings in document order: the rule ``gp-strict``, ``wd-strict``, ``psis-strict``, ``acs-strict`` or
    ``alert-strict``, a sentence that says what is wrong and what would be right, and the element concerned; for a
    child that is missing, its parent. Nothing of the message's own values is in the sentences. Of very many faults
    the first `MOST_FAULTS` are told.

    The answer to ``HAS_SCRA_PERMISSIONS_INSM01`` has the id of its question; only the question has a grammar.

    Raises: `KeyError` for an interaction that there is no grammar of. Spec: 10 §11.5.
    """
    table = _compiled(interaction)
    faults = Faults()
    alone = table.document is not None and element.tag in _DOCUMENTS
    expected = f"{HL7}{interaction}"
    if alone and table.document is not None:
        judge(element, table.document, faults)
    else:
        if element.tag != expected:
            faults.add(element, f"{local_name(element)} must be {interaction}, an element of HL7 V3.")
        judge(element, table.message, faults)
    if table.family == _GP and table.document is not None:
        for summary in [element] if alone else _UPLOADED(element):
            for place, text in find_dangling(summary):
                faults.add(place, text)
    found = [Finding(table.family, KEY, text, Issue("400", text), place) for place, text in faults.told]
    return list(in_document_order(found))
