"""The smartcard's security broker: tickets, and what is asserted of them. Spec: 35 §4.1, §9.5."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from lxml import etree, html
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidSignature
from signxml.verifier import SignatureConfiguration, XMLVerifier

from faces.identity_provider import (
    FORM_TOKEN,
    GP,
    GP_ROLE,
    NO_ROLE,
    NURSE_ROLE,
    OTHER_ROLE,
    TWO_ROLES,
    Provider,
    provider,
)
from openscr.transport.xml import read_xml

NS = {"samlp": "urn:oasis:names:tc:SAML:1.0:protocol", "saml": "urn:oasis:names:tc:SAML:1.0:assertion"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("identity")


@pytest.fixture
async def idp(folder: Path) -> AsyncIterator[Provider]:
    async with provider(folder) as running:
        yield running


async def ticket_of(idp: Provider, user: str, role: str | None = None) -> str:
    """Get a ticket with a smartcard; none when the pages do not give one."""
    place = (await idp.get("/saml/token")).location
    page = await idp.get(place)
    told = {"user": user, "method": "smartcard", FORM_TOKEN: html.fromstring(page.text).forms[0].fields[FORM_TOKEN]}
    reply = await idp.post(place, told)
    if reply.status == 303:
        place = reply.location
        page = await idp.get(place)
        token = html.fromstring(page.text).forms[0].fields[FORM_TOKEN]
        reply = await idp.post(place, {FORM_TOKEN: token, "role": role or ""})
    return str(html.fromstring(reply.text).xpath("string(//*[@id='ticket'])"))


async def asserted(idp: Provider, ticket: str) -> etree._Element:
    reply = await idp.get(f"/saml/RoleAssertion?token={quote(ticket)}")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/xml")
    return read_xml(reply.text.encode())


def attributes(tree: etree._Element) -> list[tuple[str, list[str]]]:
    found = tree.findall("saml:Assertion/saml:AttributeStatement/saml:Attribute", NS)
    assert {each.get("AttributeNamespace") for each in found} <= {"http://www.syntegra.com"}
    return [
        (str(each.get("AttributeName")), [value.text or "" for value in each.findall("saml:AttributeValue", NS)])
        for each in found
    ]


def verified(data: etree._Element, certificate: str) -> etree._Element:
    """Return what is signed, when it is signed as a strict reader wants it."""
    result = XMLVerifier().verify(
        etree.tostring(data),
        x509_cert=certificate,
        id_attribute="AssertionID",
        expect_config=SignatureConfiguration(
            signature_methods=frozenset({SignatureMethod.RSA_SHA256}),
            digest_algorithms=frozenset({DigestAlgorithm.SHA256}),
            expect_references=1,
        ),
    )
    signed = (result[0] if isinstance(result, list) else result).signed_xml
    assert signed is not None
    return signed


async def test_a_ticket_is_asserted(idp: Provider) -> None:
    ticket = await ticket_of(idp, GP)
    tree = await asserted(idp, ticket)
    assert (tree.tag, tree.get("MajorVersion"), tree.get("MinorVersion")) == (
        f"{{{NS['samlp']}}}Response",
        "1",
        "1",
    )
    assert {"InResponseTo", "Recipient", "IssueInstant", "ResponseID"} <= set(tree.attrib)
    assert tree.find("samlp:Status/samlp:StatusCode", NS).get("Value") == "samlp:Success"
    conditions = tree.find("saml:Assertion/saml:Conditions", NS)
    assert conditions.get("NotBefore") == f"{idp.clock.now - timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}"
    assert conditions.get("NotOnOrAfter") == f"{idp.clock.now + timedelta(minutes=3):%Y-%m-%dT%H:%M:%SZ}"
    subject = tree.find("saml:Assertion/saml:AttributeStatement/saml:Subject", NS)
    name = subject.find("saml:NameIdentifier", NS)
    assert (name.get("NameQualifier"), name.text) == ("o=nhs", f"uid={GP},ou=People,o=nhs")
    assert subject.findtext("saml:SubjectConfirmation/saml:ConfirmationMethod", None, NS) == "urn:com:sun:identity"
    nested = subject.find("saml:SubjectConfirmation/saml:SubjectConfirmationData/saml:Assertion", NS)
    statement = nested.find("saml:AuthenticationStatement", NS)
    path = "saml:Subject/saml:SubjectConfirmation/saml:SubjectConfirmationData"
    assert statement.findtext(path, None, NS) == ticket
    assert attributes(tree) == [
        ("ssbAssertionVersion", ["1.1"]),
        ("cn", ["Dr Gita Demopractice"]),
        ("uid", [GP]),
        ("ssbSessionRoleUid", [GP_ROLE]),
        ("ssbMode", ["0"]),
        ("nhsIdCode", ["Y90001"]),
        ("o", ["Demo Practice"]),
        ("nhsJobRole", ["Clinical Practitioner Access Role"]),
        ("nhsJobRoleCode", ["S8000:G8000:R8000"]),
        ("uniqueIdentifier", [GP_ROLE]),
        (
            "nhsBusinessFunctions",
            [
                "Change Spine Sharing Consent",
                "Emergency Access",
                "Manage Detailed Health Records",
                "Perform Detailed Health Record",
                "View Summary Health Records",
            ],
        ),
        ("nhsBusinessFunctionsCodes", ["B0020", "B0168", "B0370", "B0380", "B8029"]),
    ]


async def test_every_role_has_a_block_and_the_chosen_one_is_active(idp: Provider) -> None:
    told = attributes(await asserted(idp, await ticket_of(idp, TWO_ROLES, OTHER_ROLE)))
    assert [values for name, values in told if name == "uniqueIdentifier"] == [[NURSE_ROLE], [OTHER_ROLE]]
    assert ("ssbSessionRoleUid", [OTHER_ROLE]) in told


async def test_the_assertion_is_signed(idp: Provider) -> None:
    tree = await asserted(idp, await ticket_of(idp, GP))
    certificate = (await idp.get("/saml/certificate")).text
    signed = verified(tree, certificate)
    assert signed.tag == f"{{{NS['saml']}}}Assertion"
    assert signed.find("saml:Conditions", NS) is not None
    changed = etree.fromstring(etree.tostring(tree).replace(GP_ROLE.encode(), NURSE_ROLE.encode()))
    with pytest.raises(InvalidSignature):
        verified(changed, certificate)
    await idp.post_json("/realms/cis2-mock/keys", {})
    renewed = (await idp.get("/saml/certificate")).text
    assert renewed != certificate
    with pytest.raises(InvalidSignature):
        verified(tree, renewed)


@pytest.mark.parametrize("ticket", ["x", "%22%3E%3Cb%3E", "A" * 3000])
async def test_a_ticket_that_is_none_is_not_asserted(idp: Provider, ticket: str) -> None:
    reply = await idp.get(f"/saml/RoleAssertion?token={ticket}")
    tree = read_xml(reply.text.encode())
    assert tree.find("samlp:Status/samlp:StatusCode", NS).get("Value") == "samlp:Requester"
    assert tree.find("saml:Assertion", NS) is None


@pytest.mark.parametrize("query", ["", "token=", "token=a&token=b", "token=%00", "token=" + "a" * 20_000])
async def test_one_ticket_must_be_named(idp: Provider, query: str) -> None:
    assert (await idp.get(f"/saml/RoleAssertion?{query}")).status in (400, 414)


async def test_a_ticket_ends_with_the_session_and_after_an_hour(idp: Provider) -> None:
    async def status(ticket: str) -> str:
        return str((await asserted(idp, ticket)).find("samlp:Status/samlp:StatusCode", NS).get("Value"))

    ticket = await ticket_of(idp, GP)
    assert await status(ticket) == "samlp:Success"
    (token,) = (await idp.post_json("/realms/cis2-mock/logout-tokens", {"user": GP})).json["logout_tokens"]
    await idp.post("/oauth2/backchannel-logout", {"logout_token": token})
    assert await status(ticket) == "samlp:Requester"
    second = await ticket_of(idp, GP)
    idp.clock.pass_(3600)
    assert await status(second) == "samlp:Requester"


async def test_only_smartcards_have_tickets_and_only_for_an_open_role(idp: Provider) -> None:
    await idp.sign_in(GP, method="security-key")
    assert (await idp.get("/saml/token")).status == 303, "the session is no smartcard's"
    for user, role in ((NO_ROLE, None), (TWO_ROLES, GP_ROLE)):
        assert await ticket_of(idp, user, role) == ""
        idp.session.cookie_jar.clear()
    assert await ticket_of(idp, GP) != ""
    assert (await idp.get("/saml/token")).status == 200, "the card is still in"
