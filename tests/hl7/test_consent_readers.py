"""What the rules of consent let pass is read as they judged it: nothing that passes may turn into another answer.

Spec: 30 §4.1, §5.1, §5.2, §5.3; 40 §6.6.
"""

import pytest
from lxml import etree

from openscr.codes import ACS_GET, ACS_HAS, ACS_SET, CRS_NS
from openscr.hl7.acs import ConsentMessage, read_consent_message, read_get_answer
from openscr.hl7.permission_check import read_has_answer, read_permission_message
from openscr.hl7.psis import HeaderFacts, read_event_list_answer
from openscr.hl7.wrapper import read_wrapper
from openscr.spine import AskedPermission, Consent, ConsentChange, ConsentQuery, PermissionQuery

from .mutation import Change, both, drop, empty, find
from .rules import message
from .test_readers import interaction

PERMISSIONS = "h:ControlActEvent/crs:setResourcePermissionsRequest/crs:permissions"
CRITERIA = "h:ControlActEvent/crs:getResourcePermissionsRequest/crs:accessControlQuery/crs:queryCriteria"
ASKED = "h:ControlActEvent/crs:hasResourcePermissionsRequest/crs:accessControlQuery"


def read(base: str, name: str, *changes: Change) -> ConsentMessage:
    root = interaction(message("acs", base))
    both(*changes)(root)
    facts = HeaderFacts(name, "990000000004", "200000000115")
    wrapper = read_wrapper(root)
    return read_permission_message(wrapper, facts) if name == ACS_HAS else read_consent_message(wrapper, name, facts)


def marked(path: str, where: str) -> Change:
    """Put a comment before, inside or behind the text of elements."""

    def change(root: etree._Element) -> None:
        for element in find(root, path):
            text = (element.text or "").strip()
            cut = {"before": 0, "inside": 1, "behind": len(text)}[where]
            comment = etree.Comment(" - ")
            element.text, comment.tail = text[:cut], text[cut:]
            element.insert(0, comment)

    return change


def split_in_two(path: str, *names: str) -> Change:
    """Move children of these names out of an element into a second one of its name, behind it."""

    def change(root: etree._Element) -> None:
        (element,) = find(root, path)
        second = etree.Element(element.tag)
        for child in list(element):
            if etree.QName(child).localname in names:
                second.append(child)
        element.addnext(second)

    return change


@pytest.mark.parametrize("where", ["before", "inside", "behind"])
@pytest.mark.parametrize(
    ("base", "wanted"), [("01", Consent.YES), ("02", Consent.NO), ("03", Consent.ASK)], ids=["Yes", "No", "Clear"]
)
def test_a_comment_does_not_change_a_decision(base: str, wanted: Consent, where: str) -> None:
    """A dissent with a comment in it is a dissent, never a Clear."""
    change = read(base, ACS_SET, marked(f"{PERMISSIONS}/crs:accessControlAssertion/crs:permission", where)).request
    assert isinstance(change, ConsentChange)
    assert change.value is wanted


def test_a_decision_in_a_second_permissions_element_is_not_lost() -> None:
    """The rules count over every ``permissions``; a dissent in the second is that dissent, or refused."""
    told = read("02", ACS_SET, split_in_two(PERMISSIONS, "accessControlAssertion"))
    assert told.refusal is not None or (isinstance(told.request, ConsentChange) and told.request.value is Consent.NO)


@pytest.mark.parametrize("where", ["before", "inside", "behind"])
def test_a_comment_does_not_change_a_question(where: str) -> None:
    """What a GET or a HAS asks for is asked whatever comments stand in it: no silence reads as Ask."""
    words = "/*[not(*)][normalize-space()]"
    query = read("07", ACS_GET, marked(f"{CRITERIA}//{words[1:]}", where)).request
    assert isinstance(query, ConsentQuery)
    assert query == read("07", ACS_GET).request
    asked = read("11", ACS_HAS, marked(f"{ASKED}/crs:accessControlSet//{words[1:]}", where)).request
    assert isinstance(asked, PermissionQuery)
    assert asked == read("11", ACS_HAS).request
    assert AskedPermission("View") in [AskedPermission(one.code) for one in asked.asked]


@pytest.mark.parametrize("change", [drop(f"{CRITERIA}/crs:resource"), empty(CRITERIA)], ids=["resource", "everything"])
def test_criteria_that_leave_something_out_do_not_filter_by_it(change: Change) -> None:
    """What criteria do not say is no filter: a dissent is told then, not left out as if there were none."""
    query = read("07", ACS_GET, change).request
    assert isinstance(query, ConsentQuery)
    assert query.criteria.scr_wanted
    assert query.criteria.codes


def test_a_question_in_a_second_query_element_is_not_lost() -> None:
    """The rules count over every ``accessControlQuery``: what passes them is asked, or the message is refused."""
    told = read("11", ACS_HAS, split_in_two(ASKED, "accessControlSet"))
    assert told.refusal is not None or (isinstance(told.request, PermissionQuery) and len(told.request.asked) == 2)
    got = read("07", ACS_GET, split_in_two(CRITERIA.rpartition("/")[0], "queryCriteria"))
    assert got.refusal is not None or got.request == read("07", ACS_GET).request


def test_the_namespace_of_consent_is_its_own() -> None:
    """An assertion of another namespace is none."""

    def foreign(root: etree._Element) -> None:
        for element in find(root, f"{PERMISSIONS}/crs:accessControlAssertion"):
            element.tag = element.tag.replace(CRS_NS, "urn:hl7-org:v3")

    assert read("02", ACS_SET, foreign).refusal is not None


def test_a_client_reads_a_dissent_with_a_comment_in_it() -> None:
    """Neither the answer to a GET nor the list's permissions nor that of a HAS may read as Ask."""
    for where in ("before", "inside", "behind"):
        answer = interaction(message("acs", "08"))
        marked("//crs:permission", where)(answer)
        assert read_get_answer(answer, "").consent is Consent.NO
        listed = interaction(message("psis-query", "QUPC_IN200000SM04"))
        for permission in find(listed, "//h:permissions//h:permission"):
            permission.text = "No"
        marked("//h:permissions//*[not(*)][normalize-space()]", where)(listed)
        assert read_event_list_answer(listed, "").consent is Consent.NO
        compared = interaction(message("acs", "12"))
        for permission in find(compared, "//crs:permission"):
            permission.text = "No"
        marked("//crs:accessControlAssertion//*[not(*)][normalize-space()]", where)(compared)
        told = read_has_answer(compared, "").permissions
        assert told
        assert {value for _, value in told} == {Consent.NO}
        assert {asked.code for asked, _ in told} <= {"View", "Store"}


@pytest.mark.parametrize(
    ("store", "view", "consent"),
    [("No", "Yes", "No"), ("Yes", "No", "No"), ("No", "No", "No"), ("Ask", "Yes", "Yes"), ("Yes", "Ask", "Ask")],
)
@pytest.mark.parametrize("turned", [False, True], ids=["Store first", "View first"])
def test_a_client_takes_a_no_in_any_place_for_a_dissent(store: str, view: str, consent: str, turned: bool) -> None:
    """Another Spine may hold two values: one of them being No is a dissent. Spec: 20 §8, 30 §8.3."""
    for folder, name, prefix in (("acs", "08", "crs"), ("psis-query", "QUPC_IN200000SM04", "h")):
        answer = interaction(message(folder, name))
        assertions = find(answer, f"//{prefix}:accessControlAssertion")
        for assertion in assertions:
            (code,), (permission,) = find(assertion, f".//{prefix}:code"), find(assertion, f"./{prefix}:permission")
            permission.text = {"Store": store, "View": view}[(code.text or "").strip()]
        parent = assertions[0].getparent()
        assert parent is not None
        if turned:
            parent.append(assertions[0])
        read = read_get_answer if folder == "acs" else read_event_list_answer
        assert read(answer, "").consent is Consent(consent)
