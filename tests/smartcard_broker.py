"""A smartcard broker of the tests' own: real HTTP on loopback; its assertions can be bent, before and after signing.

Spec: 35 §4.1.
"""

import copy
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from lxml import etree
from lxml.builder import ElementMaker
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
from signxml.signer import XMLSigner

from identity_provider import GP, GP_ROLE, Clock

PROTOCOL = "urn:oasis:names:tc:SAML:1.0:protocol"
ASSERTION = "urn:oasis:names:tc:SAML:1.0:assertion"
P = ElementMaker(namespace=PROTOCOL, nsmap={"samlp": PROTOCOL, "saml": ASSERTION})
A = ElementMaker(namespace=ASSERTION, nsmap={"saml": ASSERTION})
NAMES = {"p": PROTOCOL, "a": ASSERTION, "ds": "http://www.w3.org/2000/09/xmldsig#"}
Bend = Callable[[etree._Element], Any]

GP_BLOCK = {
    "nhsIdCode": ["Y90001"],
    "o": ["Demo Practice"],
    "nhsJobRole": ['"Clinical":"Clinical Provision":"Clinical Practitioner Access Role"'],
    "nhsJobRoleCode": ["S8000:G8000:R8000"],
    "uniqueIdentifier": [GP_ROLE],
    "nhsBusinessFunctions": ["Perform Detailed Health Record", "View Summary Health Records"],
    "nhsBusinessFunctionsCodes": ["B0370", "B0380", "B0020"],
}
OTHER_BLOCK = {
    "nhsIDCode": ["RZZ01"],
    "o": ["Demo Hospital"],
    "nhsJobRole": ["Nurse"],
    "nhsJobRoleCode": ["R8001"],
    "uniqueIdentifier": ["555000000199"],
    "nhsBusinessFunctionsCodes": ["B0082"],
}


def instant(moment: datetime) -> str:
    """Write a time as SAML does."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def attribute(name: str, *values: str) -> etree._Element:
    """Make one attribute of the broker's."""
    return A.Attribute(
        *(A.AttributeValue(value) for value in values),
        AttributeName=name,
        AttributeNamespace="http://www.syntegra.com",
    )


def subject(user: str, confirmation: Any) -> etree._Element:
    """Make a subject with what confirms it."""
    return A.Subject(
        A.NameIdentifier(f"uid={user},ou=People,o=nhs", NameQualifier="o=nhs"),
        A.SubjectConfirmation(A.ConfirmationMethod("urn:com:sun:identity"), A.SubjectConfirmationData(confirmation)),
    )


class Signer:
    """A key with a certificate of its own."""

    def __init__(self, name: str, now: datetime) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        subject_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(subject_name)
            .issuer_name(subject_name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .sign(self.key, hashes.SHA256())
        )

    def sign(self, response: etree._Element, **changed: Any) -> etree._Element:
        """Sign the assertion of a response, in place."""
        assertion = response.find("a:Assertion", NAMES)
        assert assertion is not None
        settings: dict[str, Any] = {
            "signature_algorithm": SignatureMethod.RSA_SHA256,
            "digest_algorithm": DigestAlgorithm.SHA256,
            "c14n_algorithm": CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
        }
        signed = XMLSigner(**(settings | changed)).sign(
            assertion,
            key=self.key,
            cert=[self.certificate],
            reference_uri=f"#{assertion.get('AssertionID')}",
            id_attribute="AssertionID",
        )
        response.replace(assertion, signed)
        return response


class SmartcardBroker:
    """The broker. ``tickets`` are the tokens that it knows, each with its response; ``asked`` the tokens asked for."""

    def __init__(self, clock: Clock, tls: ssl.SSLContext | None = None) -> None:
        self.clock = clock
        self.asked: list[str] = []
        self.answers: dict[str, bytes] = {}
        self.status = 200
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._made = 0

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/saml/RoleAssertion", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}/saml/RoleAssertion"
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        token = request.query["token"]
        self.asked.append(token)
        unknown = etree.tostring(self.response(token, status="samlp:Requester"))
        return web.Response(
            body=self.answers.get(token, unknown), status=self.status, headers={"Content-Type": "text/xml"}
        )

    def response(
        self, token: str, user: str = GP, role: str = GP_ROLE, *, status: str = "samlp:Success", **person: str | None
    ) -> etree._Element:
        """Make a response; ``person`` changes attributes before the roles, none leaves one out."""
        now = self.clock()
        window = {
            "NotBefore": instant(now - timedelta(seconds=60)),
            "NotOnOrAfter": instant(now + timedelta(seconds=180)),
        }
        attributes = {
            "ssbAssertionVersion": "1.1",
            "cn": "Gita Demopractice",
            "uid": user,
            "ssbSessionRoleUid": role,
            "ssbMode": "0",
        } | person
        nested = self._assertion(
            A.AuthenticationStatement(
                subject(user, token), AuthenticationMethod="urn:ietf:rfc:2246", AuthenticationInstant=instant(now)
            )
        )
        statement = A.AttributeStatement(
            subject(user, nested),
            *(attribute(name, value) for name, value in attributes.items() if value is not None),
            *(attribute(name, *values) for block in (OTHER_BLOCK, GP_BLOCK) for name, values in block.items()),
        )
        return P.Response(
            P.Status(P.StatusCode(Value=status)),
            self._assertion(A.Conditions(**window), statement),
            MajorVersion="1",
            MinorVersion="1",
            ResponseID="r1",
            Recipient="https://client.test",
            IssueInstant=instant(now),
        )

    def _assertion(self, *children: etree._Element) -> etree._Element:
        self._made += 1
        return A.Assertion(
            *children,
            MajorVersion="1",
            MinorVersion="1",
            AssertionID=f"s{self._made}",
            Issuer="https://broker.test",
            IssueInstant=instant(self.clock()),
        )

    def issue(self, token: str, *, signer: Signer | None = None, bend: Bend | None = None, **changed: Any) -> str:
        """Let a token be known; its response is bent before it is signed."""
        response = self.response(token, **changed)
        if bend is not None:
            bend(response)
        if signer is not None:
            signer.sign(response)
        self.answers[token] = etree.tostring(response)
        return token


def forged_copy(assertion: etree._Element, **attributes: str) -> etree._Element:
    """Return a copy of an assertion, without its signature, that says of its holder what ``attributes`` say."""
    forged = copy.deepcopy(assertion)
    for signature in forged.findall("ds:Signature", NAMES):
        forged.remove(signature)
    for name, value in attributes.items():
        for found in forged.iterfind(f".//a:Attribute[@AttributeName='{name}']/a:AttributeValue", NAMES):
            found.text = value
    return forged
