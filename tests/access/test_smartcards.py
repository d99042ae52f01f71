"""Smartcard tokens against a real broker on loopback: every rule of 35 §4.1 broken once, and signatures wrapped."""

import copy
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from access.verifying import demo_world
from identity_provider import CLOSED, CLOSED_ROLE, GP, GP_ROLE, Clock
from openscr.access import pki, refusals
from openscr.access.authentication import Authenticator
from openscr.access.fetching import Fetcher
from openscr.access.networks import TrustedAddresses
from openscr.access.refusals import Refusal, RequestRefused
from openscr.access.sessions import Sessions
from openscr.access.smartcard import SmartcardBroker as Client
from openscr.directory.model import CurrentDirectory
from openscr.spine import Session
from smartcard_broker import ASSERTION, NAMES, Bend, P, Signer, SmartcardBroker, attribute, forged_copy, instant

TOKEN = "AQIC5wM2LY4Sfcx+/3Yd=@AAJTSQACMDE=#"
ATTACKER_ROLE = "555000000199"


class Desk:
    """A broker, and our side that asks it."""

    def __init__(self, broker: SmartcardBroker, clock: Clock, fetcher: Fetcher, **settings: Any) -> None:
        self.broker = broker
        self.clock = clock
        self.client = Client(broker.url, fetcher, clock, **({"certificate": None, "training": False} | settings))

    async def session(self, token: str = TOKEN) -> Session:
        """Return whose token it is."""
        return await self.client.authenticate(token)

    async def refusal(self, token: str = TOKEN) -> Refusal:
        """Return why a token is refused."""
        try:
            session = await self.session(token)
        except RequestRefused as refused:
            return refused.refusal
        raise AssertionError(f"accepted: {session}")


@asynccontextmanager
async def desk(**settings: Any) -> AsyncIterator[Desk]:
    """Run a broker and our side of it."""
    clock, fetcher = Clock(), Fetcher()
    async with SmartcardBroker(clock) as broker:
        try:
            yield Desk(broker, clock, fetcher, **settings)
        finally:
            await fetcher.close()


@pytest.fixture(scope="module")
def signer() -> Signer:
    """The broker's signature."""
    return Signer("broker.test", Clock().now)


@pytest.fixture(scope="module")
def attacker() -> Signer:
    """Somebody else's."""
    return Signer("broker.test", Clock().now)


async def test_a_token_is_its_holder_in_the_session_role_alone() -> None:
    async with desk() as it:
        it.broker.issue(TOKEN)
        session = await it.session()
        assert it.broker.asked == [TOKEN]
        assert (session.user_id, session.name, session.assurance_level) == (GP, "Gita Demopractice", 3)
        role = session.role
        assert (role.role_profile_id, role.job_role, role.ods) == (GP_ROLE, "S8000:G8000:R8000", "Y90001")
        assert role.activities == {"B0370", "B0380", "B0020"}
        assert TOKEN not in repr(session)


async def test_what_the_broker_said_is_believed_for_a_minute() -> None:
    async with desk() as it:
        it.broker.issue(TOKEN)
        await it.session()
        it.clock.pass_by(59)
        await it.session()
        assert len(it.broker.asked) == 1
        del it.broker.answers[TOKEN]
        it.clock.pass_by(2)
        assert (await it.refusal()).reason == "smartcard_status"


async def test_a_replayed_assertion_is_refused() -> None:
    """The same response again, for the same token: the broker makes a new assertion each time it is asked."""
    async with desk() as it:
        it.broker.issue(TOKEN)
        await it.session()
        it.clock.pass_by(61)
        assert (await it.refusal()).reason == "smartcard_replayed"
        it.broker.issue(TOKEN)
        assert await it.session()


def _window(since: float, until: float) -> Bend:
    def bend(response: etree._Element) -> None:
        conditions = response.find("a:Assertion/a:Conditions", NAMES)
        assert conditions is not None
        now = Clock().now
        conditions.set("NotBefore", instant(now + timedelta(seconds=since)))
        conditions.set("NotOnOrAfter", instant(now + timedelta(seconds=until)))

    return bend


def _set(path: str, name: str, value: str | None) -> Bend:
    def bend(response: etree._Element) -> None:
        element = response.find(path, NAMES)
        assert element is not None
        if value is None:
            del element.attrib[name]
        else:
            element.set(name, value)

    return bend


def _text(path: str, value: str) -> Bend:
    def bend(response: etree._Element) -> None:
        element = response.find(path, NAMES)
        assert element is not None
        element.text = value

    return bend


def _remove(path: str) -> Bend:
    def bend(response: etree._Element) -> None:
        element = response.find(path, NAMES)
        assert element is not None
        parent = element.getparent()
        assert parent is not None
        parent.remove(element)

    return bend


def _again(path: str) -> Bend:
    def bend(response: etree._Element) -> None:
        element = response.find(path, NAMES)
        assert element is not None
        parent = element.getparent()
        assert parent is not None
        again = copy.deepcopy(element)
        if element.tag != f"{{{ASSERTION}}}Assertion":
            for number, nested in enumerate(again.iter(f"{{{ASSERTION}}}Assertion")):
                nested.set("AssertionID", f"again-{number}")
        parent.insert(parent.index(element), again)

    return bend


def _value(name: str, value: str) -> Bend:
    return _text(f".//a:Attribute[@AttributeName='{name}']/a:AttributeValue", value)


def _behind(name: str, value: str, *, also: bool = False) -> Bend:
    """Put an attribute behind the roles, instead of where it stood or beside it."""

    def bend(response: etree._Element) -> None:
        statement = response.find("a:Assertion/a:AttributeStatement", NAMES)
        assert statement is not None
        for before in statement.findall(f"a:Attribute[@AttributeName='{name}']", NAMES):
            if not also:
                statement.remove(before)
        statement.append(attribute(name, value))

    return bend


STATEMENT = "a:Assertion/a:AttributeStatement"
NESTED = f"{STATEMENT}/a:Subject/a:SubjectConfirmation/a:SubjectConfirmationData"
SIGN_IN = f"{NESTED}/a:Assertion/a:AuthenticationStatement/a:Subject/a:SubjectConfirmation/a:SubjectConfirmationData"

BROKEN: dict[str, tuple[Bend, str]] = {
    "status of failure": (_set("p:Status/p:StatusCode", "Value", "samlp:Responder"), "status"),
    "two statuses": (_again("p:Status/p:StatusCode"), "status"),
    "no status": (_remove("p:Status"), "status"),
    "SAML 2": (lambda response: response.set("MajorVersion", "2"), "no_response"),
    "assertion of SAML 2": (_set("a:Assertion", "MajorVersion", "2"), "version"),
    "no assertion": (_remove("a:Assertion"), "not_one_assertion"),
    "two assertions of one id": (_again("a:Assertion"), "not_one_assertion"),
    "an assertion without an id": (_set("a:Assertion", "AssertionID", None), "not_one_assertion"),
    "window over": (_window(-300, -60), "window"),
    "window to come": (_window(61, 300), "window"),
    "no window": (_remove("a:Assertion/a:Conditions"), "window"),
    "half a window": (_set("a:Assertion/a:Conditions", "NotOnOrAfter", None), "window"),
    "a window without zone": (_set("a:Assertion/a:Conditions", "NotOnOrAfter", "2026-06-01T09:03:00"), "window"),
    "a window of words": (_set("a:Assertion/a:Conditions", "NotOnOrAfter", "tomorrow"), "window"),
    "two windows": (_again("a:Assertion/a:Conditions"), "window"),
    "another token": (_text(SIGN_IN, "AQIC5wM2LY4SfcxANOTHER"), "token_differs"),
    "no sign-in": (_remove(f"{NESTED}/a:Assertion"), "token_differs"),
    "two sign-ins": (_again(f"{NESTED}/a:Assertion/a:AuthenticationStatement"), "token_differs"),
    "confirmed otherwise": (
        _text(f"{STATEMENT}/a:Subject/a:SubjectConfirmation/a:ConfirmationMethod", "urn:other"),
        "confirmation",
    ),
    "another subject": (
        _text(f"{STATEMENT}/a:Subject/a:NameIdentifier", "uid=555000000201,ou=People,o=nhs"),
        "subject",
    ),
    "a subject elsewhere": (_text(f"{STATEMENT}/a:Subject/a:NameIdentifier", f"uid={GP},o=other"), "subject"),
    "another qualifier": (_set(f"{STATEMENT}/a:Subject/a:NameIdentifier", "NameQualifier", "o=other"), "subject"),
    "two subjects": (_again(f"{STATEMENT}/a:Subject"), "subject"),
    "two statements": (_again(STATEMENT), "not_one_statement"),
    "version 2": (_value("ssbAssertionVersion", "2.0"), "version"),
    "a session role of no block": (_value("ssbSessionRoleUid", "555000000302"), "role"),
    "no session role": (_remove(".//a:Attribute[@AttributeName='ssbSessionRoleUid']"), "attribute_count"),
    "two session roles": (_again(".//a:Attribute[@AttributeName='ssbSessionRoleUid']"), "attribute_twice"),
    "two values of the session role": (
        _again(".//a:Attribute[@AttributeName='ssbSessionRoleUid']/a:AttributeValue"),
        "attribute_count",
    ),
    "two blocks of the session role": (
        lambda response: response.find(STATEMENT, NAMES).extend(  # type: ignore[union-attr]
            [attribute("nhsIdCode", "RZZ01"), attribute("uniqueIdentifier", GP_ROLE)]
        ),
        "role",
    ),
    "training mode": (_value("ssbMode", "1"), "training_mode"),
    "training mode behind the roles": (_behind("ssbMode", "1"), "training_mode"),
    "live and training mode": (_behind("ssbMode", "1", also=True), "attribute_twice"),
    "an inactive person behind the roles": (_behind("nhsPersonStatus", "2"), "person_inactive"),
    "another session role behind the roles": (
        _behind("ssbSessionRoleUid", "555000000302", also=True),
        "attribute_twice",
    ),
    "a mode of its own": (_value("ssbMode", "2"), "training_mode"),
    "an inactive person": (
        lambda response: response.find(STATEMENT, NAMES).insert(  # type: ignore[union-attr]
            1, attribute("nhsPersonStatus", "2")
        ),
        "person_inactive",
    ),
    "a foreign attribute": (
        _set(".//a:Attribute[@AttributeName='uid']", "AttributeNamespace", "http://elsewhere.test"),
        "attribute_namespace",
    ),
    "a job role of words": (lambda response: _value_of_last(response, "nhsJobRoleCode", "Doctor"), "role"),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_an_assertion_that_breaks_a_rule_is_refused(case: str) -> None:
    bend, cause = BROKEN[case]
    async with desk() as it:
        it.broker.issue(TOKEN, bend=bend)
        refusal = await it.refusal()
        assert refusal == refusals.smartcard(cause)
        assert (refusal.status, refusal.code) == (401, "AUTHOR_CREDENTIALS_ERROR")


async def test_clocks_may_differ_by_a_minute() -> None:
    for since, until in ((60, 300), (-300, -59)):
        async with desk() as it:
            it.broker.issue(TOKEN, bend=_window(since, until))
            assert await it.session()


async def test_training_mode_passes_where_people_train() -> None:
    async with desk(training=True) as it:
        it.broker.issue(TOKEN, ssbMode="1")
        assert await it.session()
        it.broker.issue("another-token", ssbMode="2")
        assert (await it.refusal("another-token")).reason == "smartcard_training_mode"


async def test_an_active_person_and_no_mode() -> None:
    async with desk() as it:
        it.broker.issue(TOKEN, nhsPersonStatus="1", ssbMode=None)
        assert await it.session()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b'<!DOCTYPE r [<!ENTITY e SYSTEM "file:///etc/passwd">]><r>&e;</r>',
        b"<Response/>",
        b"<a>" * 100_000,
        "<r>\u0000</r>".encode(),
    ],
)
async def test_answers_that_are_no_response(answer: bytes) -> None:
    async with desk() as it:
        it.broker.answers[TOKEN] = answer
        assert (await it.refusal()).status in {401, 503}


@pytest.mark.parametrize("token", ["", "short", "x" * 5000, "with space", "tö-ken-token"])
async def test_tokens_that_nobody_is_asked_about(token: str) -> None:
    async with desk() as it:
        assert await it.refusal(token) == refusals.smartcard("token_malformed")
        assert it.broker.asked == []


async def test_a_broker_that_cannot_be_asked() -> None:
    async with desk() as it:
        it.broker.issue(TOKEN)
        it.broker.status = 503
        assert await it.refusal() == refusals.KEYS_UNAVAILABLE
        it.broker.status = 404
        assert (await it.refusal()).status == 401


# --- signatures -----------------------------------------------------------------------------------------------------


async def test_a_signed_assertion_counts(signer: Signer) -> None:
    async with desk(certificate=signer.certificate) as it:
        it.broker.issue(TOKEN, signer=signer)
        session = await it.session()
        assert (session.user_id, session.role.activities) == (GP, {"B0370", "B0380", "B0020"})


def _assertion(response: etree._Element) -> etree._Element:
    found = response.find("a:Assertion", NAMES)
    assert found is not None
    return found


def _signature(response: etree._Element) -> etree._Element:
    found = response.find("a:Assertion/ds:Signature", NAMES)
    assert found is not None
    return found


def _forgery(response: etree._Element, *, new_id: bool = True) -> etree._Element:
    """Return an assertion that puts its holder into the role with the legal override."""
    forged = forged_copy(_assertion(response), ssbSessionRoleUid=ATTACKER_ROLE)
    if new_id:
        forged.set("AssertionID", "forged")
        for nested in forged.iterfind(".//a:Assertion", NAMES):
            nested.set("AssertionID", "forged-nested")
    return forged


def _beside(response: etree._Element, *, first: bool) -> None:
    response.insert(1 if first else 2, _forgery(response))


def _around(response: etree._Element) -> None:
    """The forgery holds the good assertion, somewhere that is not looked at."""
    forged, good = _forgery(response), _assertion(response)
    response.replace(good, forged)
    advice = etree.SubElement(forged, f"{{{ASSERTION}}}Advice")
    advice.append(good)


def _around_with_the_signature(response: etree._Element) -> None:
    """The forgery bears the signature, whose reference leads to the good assertion inside it."""
    forged, good, signature = _forgery(response), _assertion(response), _signature(response)
    response.replace(good, forged)
    good.remove(signature)
    forged.append(signature)
    etree.SubElement(forged, f"{{{ASSERTION}}}Advice").append(good)


def _object(response: etree._Element) -> None:
    """The good assertion stands in an object of the signature that the forgery bears."""
    forged, good, signature = _forgery(response), _assertion(response), _signature(response)
    response.replace(good, forged)
    good.remove(signature)
    forged.append(signature)
    etree.SubElement(signature, f"{{{NAMES['ds']}}}Object").append(good)


def _extensions(response: etree._Element) -> None:
    """The good assertion is moved out of the way, to where no assertion is looked for."""
    forged, good = _forgery(response), _assertion(response)
    response.replace(good, forged)
    holder = P.Extensions()
    holder.append(good)
    response.insert(0, holder)


def _same_id(response: etree._Element) -> None:
    """The forgery has the id of the good one, so that the reference fits both."""
    forged, good = _forgery(response, new_id=False), _assertion(response)
    response.replace(good, forged)
    holder = P.Extensions()
    holder.append(good)
    response.insert(0, holder)


def _same_id_with_another_attribute(response: etree._Element) -> None:
    """The forgery has the id of the good one in an attribute that other dialects look at."""
    forged, good = _forgery(response), _assertion(response)
    forged.set("ID", str(good.get("AssertionID")))
    forged.append(_signature(response))
    response.replace(good, forged)


def _nested_signed(response: etree._Element) -> None:
    """The signature of the whole is moved to the forgery, and refers to the sign-in nested in it."""
    forged, signature = _forgery(response), _signature(response)
    good = _assertion(response)
    nested = forged.find(".//a:Assertion", NAMES)
    assert nested is not None
    nested.set("AssertionID", str(good.get("AssertionID")))
    forged.append(signature)
    response.replace(good, forged)


def _changed(response: etree._Element) -> None:
    value = response.find(".//a:Attribute[@AttributeName='ssbSessionRoleUid']/a:AttributeValue", NAMES)
    assert value is not None
    value.text = ATTACKER_ROLE


def _unsigned(response: etree._Element) -> None:
    good = _assertion(response)
    good.remove(_signature(response))


def _no_reference(response: etree._Element) -> None:
    reference = response.find(".//ds:Reference", NAMES)
    assert reference is not None
    reference.set("URI", "")


def _elsewhere(response: etree._Element) -> None:
    reference = response.find(".//ds:Reference", NAMES)
    assert reference is not None
    reference.set("URI", "file:///etc/hostname")


def _hmac(response: etree._Element) -> None:
    method = response.find(".//ds:SignatureMethod", NAMES)
    assert method is not None
    method.set("Algorithm", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256")


def _stylesheet(response: etree._Element) -> None:
    transform = response.find(".//ds:Transform", NAMES)
    assert transform is not None
    transform.set("Algorithm", "http://www.w3.org/TR/1999/REC-xslt-19991116")


def _role_after_the_signature(response: etree._Element) -> None:
    statement = response.find(STATEMENT, NAMES)
    assert statement is not None
    statement.append(attribute("nhsBusinessFunctionsCodes", "B0082"))


WRAPPED: dict[str, Callable[[etree._Element], None]] = {
    "forgery before the signed one": lambda response: _beside(response, first=True),
    "forgery after the signed one": lambda response: _beside(response, first=False),
    "forgery around the signed one": _around,
    "forgery with the signature, around the signed one": _around_with_the_signature,
    "signed one in an object of the signature": _object,
    "signed one in extensions": _extensions,
    "forgery with the same id": _same_id,
    "forgery with the id in another attribute": _same_id_with_another_attribute,
    "reference to what is nested": _nested_signed,
    "changed after it was signed": _changed,
    "added to after it was signed": _role_after_the_signature,
    "signature taken away": _unsigned,
    "reference to the whole": _no_reference,
    "reference to a file": _elsewhere,
    "signature with a shared secret": _hmac,
    "reference through a stylesheet": _stylesheet,
}


@pytest.mark.parametrize("case", WRAPPED)
async def test_a_signature_vouches_for_nothing_but_what_it_covers(case: str, signer: Signer) -> None:
    async with desk(certificate=signer.certificate) as it:
        response = signer.sign(it.broker.response(TOKEN))
        before = etree.tostring(response)
        WRAPPED[case](response)
        assert etree.tostring(response) != before
        it.broker.answers[TOKEN] = etree.tostring(response)
        assert (await it.refusal()).reason in {"smartcard_signature", "smartcard_not_one_assertion"}


async def test_comments_in_a_signed_value_change_nothing(signer: Signer) -> None:
    """Canonical form has no comments, so one can be added; the value must not end at it."""
    async with desk(certificate=signer.certificate) as it:
        response = signer.sign(it.broker.response(TOKEN))
        text = etree.tostring(response).replace(GP.encode(), GP[:6].encode() + b"<!-- -->" + GP[6:].encode())
        it.broker.answers[TOKEN] = text
        assert (await it.session()).user_id == GP


async def test_somebody_elses_signature(signer: Signer, attacker: Signer) -> None:
    async with desk(certificate=signer.certificate) as it:
        it.broker.issue(TOKEN, signer=attacker)
        assert (await it.refusal()).reason == "smartcard_signature"


async def test_a_signature_without_its_keys(signer: Signer) -> None:
    """What a signature says of its key is not needed: we know whose it must be."""
    async with desk(certificate=signer.certificate) as it:
        response = signer.sign(it.broker.response(TOKEN))
        for info in response.findall(".//ds:KeyInfo", NAMES):
            parent = info.getparent()
            assert parent is not None
            parent.remove(info)
        it.broker.answers[TOKEN] = etree.tostring(response)
        assert await it.session()


async def test_a_certificate_that_has_ended(signer: Signer) -> None:
    async with desk(certificate=signer.certificate) as it:
        it.clock.pass_by(31 * 86_400)
        it.broker.issue(TOKEN, signer=signer)
        assert (await it.refusal()).reason == "smartcard_signature"


async def test_rules_hold_for_signed_assertions_too(signer: Signer) -> None:
    for bend, cause in ((_window(-300, -60), "window"), (_text(SIGN_IN, "AQIC5wM2LY4SfcxANOTHER"), "token_differs")):
        async with desk(certificate=signer.certificate) as it:
            it.broker.issue(TOKEN, signer=signer, bend=bend)
            assert (await it.refusal()).reason == f"smartcard_{cause}"


# --- TLS ------------------------------------------------------------------------------------------------------------


async def test_the_broker_is_known_by_its_authority(tmp_path: Path) -> None:
    """Where assertions are not signed, trust rests on this alone."""
    pki.create_authority(tmp_path)
    pki.issue(tmp_path, "localhost", dns_names=["127.0.0.1"], usage="both")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "localhost.pem", tmp_path / "localhost.key")
    clock = Clock()
    async with SmartcardBroker(clock, server) as broker:
        broker.issue(TOKEN)
        trusting = Fetcher(tls=ssl.create_default_context(cafile=tmp_path / "ca.pem"))
        strange = Fetcher()
        try:
            assert await Desk(broker, clock, trusting).session()
            assert await Desk(broker, clock, strange).refusal() == refusals.KEYS_UNAVAILABLE
        finally:
            await trusting.close()
            await strange.close()


# --- as a header ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def authenticating() -> AsyncIterator[tuple[Desk, Authenticator]]:
    """Run what authenticates requests with smartcard tokens, behind a gateway at 192.0.2.1."""
    async with desk() as it:
        clock = it.clock
        authenticator = Authenticator(
            (),
            CurrentDirectory(demo_world()),
            Sessions(lambda: clock().timestamp()),
            audiences=("openscr",),
            clock=clock,
            gateways=TrustedAddresses(["192.0.2.1"]),
            smartcards=it.client,
        )
        yield it, authenticator


async def test_a_smartcard_user_calls_through_a_gateway_that_tells_the_system() -> None:
    async with authenticating() as (it, authenticator):
        it.broker.issue(TOKEN)
        headers = [(b"ssotoken", TOKEN.encode()), (b"nhsd-asid", b"200000000115")]
        caller = await authenticator.authenticate(headers, "192.0.2.1")
        assert caller.session is not None
        assert (caller.asid, caller.session.user_id) == ("200000000115", GP)
        for asid, address, expected in (
            (b"200000000115", "198.51.100.1", refusals.ASID_MISSING),
            (b"299999999999", "192.0.2.1", refusals.ASID_UNKNOWN),
        ):
            with pytest.raises(RequestRefused) as refused:
                await authenticator.authenticate([headers[0], (b"nhsd-asid", asid)], address)
            assert refused.value.refusal == expected
            assert refused.value.caller is not None
            assert refused.value.caller.person is not None


async def test_a_smartcard_in_a_closed_role() -> None:
    async with authenticating() as (it, authenticator):
        it.broker.issue(
            TOKEN,
            user=CLOSED,
            role=CLOSED_ROLE,
            bend=lambda response: _value_of_last(response, "uniqueIdentifier", CLOSED_ROLE),
        )
        with pytest.raises(RequestRefused) as refused:
            await authenticator.authenticate(
                [(b"ssotoken", TOKEN.encode()), (b"nhsd-asid", b"200000000115")], "192.0.2.1"
            )
        assert refused.value.refusal == refusals.ROLE_CLOSED


def _value_of_last(response: etree._Element, name: str, value: str) -> None:
    response.findall(f".//a:Attribute[@AttributeName='{name}']/a:AttributeValue", NAMES)[-1].text = value
