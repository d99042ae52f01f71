"""``GET /saml/RoleAssertion?token=``: what the smartcard's security broker asserts of a ticket, as SAML 1.1.

The response has the shape of the public sample: one assertion with the person, the active role and a block of
attributes for each role, and nested in it the assertion of the sign-in that holds the ticket. The sample is not
signed; ours is, on the outer assertion (RSA-SHA256, exclusive canonicalisation), so that a strict
reader may ask for it.

Spec: 35 §4.1, §9.5.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from lxml import etree
from lxml.builder import ElementMaker
from signxml import methods
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
from signxml.signer import XMLSigner

from openscr.directory.model import CurrentDirectory, Directory, Role, User
from openscr.faces.identity.people import activity_name, job_role, name_of, open_roles, organisation_name
from openscr.faces.identity.sessions import Sessions, SsoToken
from openscr.faces.identity.signing import SigningKeys
from openscr.identifiers import LONDON, Clock, UuidFactory

PROTOCOL: Final = "urn:oasis:names:tc:SAML:1.0:protocol"
ASSERTION: Final = "urn:oasis:names:tc:SAML:1.0:assertion"
ATTRIBUTES: Final = "http://www.syntegra.com"
CONFIRMATION: Final = "urn:com:sun:identity"
BEFORE: Final = timedelta(minutes=1)
AFTER: Final = timedelta(minutes=3)
"""The window of an assertion: four minutes, of which one lies behind. Spec: 35 §4.1."""

_P: Final = ElementMaker(namespace=PROTOCOL, nsmap={"samlp": PROTOCOL, "saml": ASSERTION})
_A: Final = ElementMaker(namespace=ASSERTION, nsmap={"saml": ASSERTION})


@dataclass(frozen=True, slots=True)
class RoleAssertions:
    """Writes the responses. ``issuer`` is our realm, ``recipient`` who asks."""

    issuer: str
    directory: CurrentDirectory
    sessions: Sessions
    keys: SigningKeys
    clock: Clock
    mint: UuidFactory

    async def answer(self, ticket: str | None) -> bytes:
        """Return the response for a ticket: success with the assertion, or the status that there is none."""
        directory = self.directory.snapshot
        found = self.sessions.sso_tokens.get(ticket)
        user = directory.users.get(found.sign_in.user_id) if found is not None else None
        alive = found is not None and self.sessions.get(found.sign_in.sid) is not None
        roles = open_roles(user, self.clock().astimezone(LONDON).date()) if user is not None and user.active else ()
        active = next((r for r in roles if found is not None and r.role_profile_id == found.role_profile_id), None)
        if found is None or user is None or not alive or active is None or ticket is None:
            return _bytes(self._response("samlp:Requester", "The token is unknown, or its session has ended"))
        response = self._response("samlp:Success")
        response.append(await self._signed(self._assertion(directory, found, ticket, user, roles, active)))
        return _bytes(response)

    def _response(self, status: str, message: str = "") -> etree._Element:
        told = _P.Status(_P.StatusCode(Value=status))
        if message:
            told.append(_P.StatusMessage(message))
        return _P.Response(
            told,
            MajorVersion="1",
            MinorVersion="1",
            ResponseID=self._id(),
            InResponseTo=self._id(),
            Recipient=self.issuer,
            IssueInstant=_instant(self.clock()),
        )

    async def _signed(self, assertion: etree._Element) -> etree._Element:
        key, certificate = await self.keys.certificate()
        signer = XMLSigner(
            method=methods.enveloped,
            signature_algorithm=SignatureMethod.RSA_SHA256,
            digest_algorithm=DigestAlgorithm.SHA256,
            c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
        )
        return signer.sign(
            assertion,
            key=key,
            cert=[certificate],
            reference_uri=f"#{assertion.get('AssertionID')}",
            id_attribute="AssertionID",
        )

    def _assertion(
        self, directory: Directory, found: SsoToken, ticket: str, user: User, roles: tuple[Role, ...], active: Role
    ) -> etree._Element:
        now = self.clock()
        statement = _A.AttributeStatement(
            _subject(user.user_id, self._signed_in(user.user_id, found, ticket)),
            _attribute("ssbAssertionVersion", "1.1"),
            _attribute("cn", name_of(user)),
            _attribute("uid", user.user_id),
            _attribute("ssbSessionRoleUid", active.role_profile_id),
            _attribute("ssbMode", "0"),
        )
        for role in roles:
            codes = sorted(role.activities)
            block = {
                "nhsIdCode": [role.ods],
                "o": [organisation_name(directory, role.ods)],
                "nhsJobRole": [job_role(role.job_role).name],
                "nhsJobRoleCode": [job_role(role.job_role).code],
                "uniqueIdentifier": [role.role_profile_id],
                "nhsBusinessFunctions": sorted(activity_name(code) for code in codes),
                "nhsBusinessFunctionsCodes": codes,
            }
            statement.extend(_attribute(name, *values) for name, values in block.items() if values)
        window = {"NotBefore": _instant(now - BEFORE), "NotOnOrAfter": _instant(now + AFTER)}
        return self._bare(_A.Conditions(**window), statement)

    def _signed_in(self, user_id: str, found: SsoToken, ticket: str) -> etree._Element:
        """Return the nested assertion: that the person signed in, and with which ticket."""
        return self._bare(
            _A.AuthenticationStatement(
                _subject(user_id, ticket),
                AuthenticationMethod="urn:ietf:rfc:2246",
                AuthenticationInstant=_instant(datetime.fromtimestamp(found.sign_in.auth_time, UTC)),
            )
        )

    def _bare(self, *children: etree._Element) -> etree._Element:
        return _A.Assertion(
            *children,
            MajorVersion="1",
            MinorVersion="1",
            AssertionID=self._id(),
            Issuer=self.issuer,
            IssueInstant=_instant(self.clock()),
        )

    def _id(self) -> str:
        # An id of XML begins with a letter.
        return f"s{self.mint().lower()}"


def _subject(user_id: str, confirmation: "etree._Element | str") -> etree._Element:
    return _A.Subject(
        _A.NameIdentifier(f"uid={user_id},ou=People,o=nhs", NameQualifier="o=nhs"),
        _A.SubjectConfirmation(
            _A.ConfirmationMethod(CONFIRMATION),
            _A.SubjectConfirmationData(confirmation),
        ),
    )


def _attribute(name: str, *values: str) -> etree._Element:
    return _A.Attribute(
        *(_A.AttributeValue(value) for value in values), AttributeName=name, AttributeNamespace=ATTRIBUTES
    )


def _instant(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _bytes(root: etree._Element) -> bytes:
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)
