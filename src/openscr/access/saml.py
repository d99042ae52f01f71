"""The role assertion of the smartcard's security broker: read strictly, believed only where all of it fits.

It is SAML 1.1, in the form of the public sample. When a certificate is given, the assertion must carry a signature by
it, and nothing is read but what that signature covers: whatever else a message holds, moved about or wrapped around,
is never looked at.

Spec: 35 §4.1.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from openscr.access.tokens import shown_name
from openscr.directory.model import Role
from openscr.errors import AccessRefused, WireError
from openscr.identifiers import ACTIVITY, JOB_ROLE, ODS_CODE, ROLE_PROFILE_ID, USER_ID
from openscr.transport.xml import read_xml, text_of

PROTOCOL: Final = "urn:oasis:names:tc:SAML:1.0:protocol"
ASSERTION: Final = "urn:oasis:names:tc:SAML:1.0:assertion"
ATTRIBUTES: Final = "http://www.syntegra.com"
CONFIRMATION: Final = "urn:com:sun:identity"
SUCCESS: Final = "Success"
LEEWAY: Final = timedelta(seconds=60)
"""How far clocks may differ. Spec: 35 §4.1."""

_NAMES: Final = {"p": PROTOCOL, "a": ASSERTION}
_VERSION: Final = re.compile(r"1\.[0-9]")
_OF_PERSON: Final = frozenset(
    {"ssbassertionversion", "cn", "uid", "nhsocsprcode", "ssbsessionroleuid", "ssbmode", "nhspersonstatus"}
)
"""Attributes that are the person's wherever they stand. Spec: 35 §4.1."""

_NAME: Final = re.compile(r"uid=([0-9]{12}),ou=people,o=nhs", re.IGNORECASE)

_SIGNATURES: Final = frozenset(
    {
        SignatureMethod.RSA_SHA256,
        SignatureMethod.RSA_SHA384,
        SignatureMethod.RSA_SHA512,
        SignatureMethod.ECDSA_SHA256,
        SignatureMethod.ECDSA_SHA384,
        SignatureMethod.ECDSA_SHA512,
    }
)
_DIGESTS: Final = frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512})


class AssertionRefused(AccessRefused):
    """A role assertion does not count; ``diagnostics`` is which of the rules it breaks, for the audit."""

    code = "ASSERTION_REFUSED"


@dataclass(frozen=True, slots=True)
class RoleAssertion:
    """What an assertion says: who, in which role; its own id, and until when it counts."""

    assertion_id: str
    user_id: str
    name: str
    role: Role
    until: datetime


@dataclass(frozen=True, slots=True)
class _Attributes:
    """The attributes of an assertion by lower-case name: those of the person, then those of each role."""

    person: dict[str, list[str]]
    roles: list[dict[str, list[str]]]


def read_role_assertion(
    data: bytes, token: str, now: datetime, *, certificate: x509.Certificate | None, training: bool
) -> RoleAssertion:
    """Return what the broker asserts of the holder of ``token``.

    ``certificate`` must have signed it, if there is one. ``training`` lets sessions in training mode pass.
    Raises: `AssertionRefused`. Spec: 35 §4.1.
    """
    try:
        response = read_xml(data)
    except WireError:
        raise AssertionRefused("not_xml") from None
    if response.tag != f"{{{PROTOCOL}}}Response" or _version(response) != ("1", "1"):
        raise AssertionRefused("no_response")
    statuses = response.findall("p:Status/p:StatusCode", _NAMES)
    if len(statuses) != 1 or statuses[0].get("Value", "").rpartition(":")[2] != SUCCESS:
        raise AssertionRefused("status")
    assertions = response.findall("a:Assertion", _NAMES)
    ids = [element.get("AssertionID", "") for element in response.iter(f"{{{ASSERTION}}}Assertion")]
    if len(assertions) != 1 or not all(ids) or len(set(ids)) != len(ids):
        raise AssertionRefused("not_one_assertion")
    assertion = assertions[0] if certificate is None else _signed(response, assertions[0], certificate, now)
    return _read(assertion, token, now, training=training)


def _signed(
    response: etree._Element, assertion: etree._Element, certificate: x509.Certificate, now: datetime
) -> etree._Element:
    """Return the assertion as its signature covers it. Raises: `AssertionRefused`."""
    configuration = SignatureConfiguration(
        location=f"./{{{ASSERTION}}}Assertion/",
        signature_methods=_SIGNATURES,
        digest_algorithms=_DIGESTS,
        verification_time=now,
    )
    try:
        result = XMLVerifier().verify(
            response, x509_cert=certificate, id_attribute="AssertionID", expect_config=configuration
        )
        signed = read_xml(result.signed_data) if not isinstance(result, list) else None
    except (SignXMLException, WireError, UnsupportedAlgorithm, ValueError, TypeError, LookupError, etree.LxmlError):
        raise AssertionRefused("signature") from None
    if signed is None or signed.tag != assertion.tag or signed.get("AssertionID") != assertion.get("AssertionID"):
        # A signature that is good, of something else.
        raise AssertionRefused("signature")
    return signed


def _read(assertion: etree._Element, token: str, now: datetime, *, training: bool) -> RoleAssertion:
    if _version(assertion) != ("1", "1"):
        raise AssertionRefused("version")
    until = _check_window(assertion, now)
    statements = assertion.findall("a:AttributeStatement", _NAMES)
    if len(statements) != 1:
        raise AssertionRefused("not_one_statement")
    named = _check_subject(statements[0], token)
    attributes = _attributes(statements[0])
    person = attributes.person
    if not _VERSION.fullmatch(_one(person, "ssbassertionversion")):
        raise AssertionRefused("version")
    user_id = _one(person, "uid")
    if not USER_ID.fullmatch(user_id) or user_id != named:
        raise AssertionRefused("subject")
    if _one(person, "nhspersonstatus", "1") != "1":
        raise AssertionRefused("person_inactive")
    mode = _one(person, "ssbmode", "0")
    if mode != "0" and not (mode == "1" and training):
        raise AssertionRefused("training_mode")
    role = _active_role(attributes.roles, _one(person, "ssbsessionroleuid"))
    return RoleAssertion(assertion.get("AssertionID", ""), user_id, shown_name(_one(person, "cn")), role, until)


def _version(element: etree._Element) -> tuple[str | None, str | None]:
    return element.get("MajorVersion"), element.get("MinorVersion")


def _check_window(assertion: etree._Element, now: datetime) -> datetime:
    """Return when an assertion ends to count. Raises: `AssertionRefused` outside its window."""
    conditions = assertion.findall("a:Conditions", _NAMES)
    if len(conditions) != 1:
        raise AssertionRefused("window")
    since, until = (_instant(conditions[0].get(name)) for name in ("NotBefore", "NotOnOrAfter"))
    if not since - LEEWAY <= now < until + LEEWAY:
        raise AssertionRefused("window")
    return until


def _instant(text: str | None) -> datetime:
    try:
        instant = datetime.fromisoformat(text or "")
    except ValueError:
        raise AssertionRefused("window") from None
    if instant.tzinfo is None:
        raise AssertionRefused("window")
    return instant


def _check_subject(statement: etree._Element, token: str) -> str:
    """Return the user whom a statement is about; the sign-in nested in it must be that of ``token``."""
    subjects = statement.findall("a:Subject", _NAMES)
    if len(subjects) != 1:
        raise AssertionRefused("subject")
    identifiers = subjects[0].findall("a:NameIdentifier", _NAMES)
    found = _NAME.fullmatch(text_of(identifiers[0]).strip()) if len(identifiers) == 1 else None
    if found is None or identifiers[0].get("NameQualifier") != "o=nhs":
        raise AssertionRefused("subject")
    confirmations = subjects[0].findall("a:SubjectConfirmation", _NAMES)
    if (
        len(confirmations) != 1
        or text_of(confirmations[0].find("a:ConfirmationMethod", _NAMES)).strip() != CONFIRMATION
    ):
        raise AssertionRefused("confirmation")
    nested = confirmations[0].findall(
        "a:SubjectConfirmationData/a:Assertion/a:AuthenticationStatement"
        "/a:Subject/a:SubjectConfirmation/a:SubjectConfirmationData",
        _NAMES,
    )
    if len(nested) != 1 or not compare_digest(text_of(nested[0]).strip().encode(), token.encode()):
        raise AssertionRefused("token_differs")
    return found.group(1)


def _attributes(statement: etree._Element) -> _Attributes:
    """Return the attributes; a new role begins wherever its organisation stands. Spec: 35 §4.1.

    What says that a session is for training, or a person inactive, says so behind the roles too.
    """
    attributes = _Attributes({}, [])
    for name, values in _each(statement):
        if name == "nhsidcode":
            attributes.roles.append({})
        block = attributes.roles[-1] if attributes.roles and name not in _OF_PERSON else attributes.person
        if name in block:
            raise AssertionRefused("attribute_twice")
        block[name] = values
    return attributes


def _each(statement: etree._Element) -> Iterator[tuple[str, list[str]]]:
    for attribute in statement.findall("a:Attribute", _NAMES):
        if attribute.get("AttributeNamespace") != ATTRIBUTES:
            raise AssertionRefused("attribute_namespace")
        values = [text_of(value).strip() for value in attribute.findall("a:AttributeValue", _NAMES)]
        yield attribute.get("AttributeName", "").lower(), [value for value in values if value]


def _one(block: dict[str, list[str]], name: str, missing: str | None = None) -> str:
    values = block.get(name, []) or ([missing] if missing is not None else [])
    if len(values) != 1:
        raise AssertionRefused("attribute_count")
    return values[0]


def _active_role(roles: list[dict[str, list[str]]], active: str) -> Role:
    """Return the one role that the session is in. Raises: `AssertionRefused`."""
    fitting = [role for role in roles if role.get("uniqueidentifier") == [active]]
    if len(fitting) != 1 or not ROLE_PROFILE_ID.fullmatch(active):
        raise AssertionRefused("role")
    ods, code = _one(fitting[0], "nhsidcode"), _one(fitting[0], "nhsjobrolecode")
    if not ODS_CODE.fullmatch(ods) or not JOB_ROLE.fullmatch(code):
        raise AssertionRefused("role")
    activities = fitting[0].get("nhsbusinessfunctionscodes", [])
    return Role(active, code, ods, frozenset(each for each in activities if ACTIVITY.fullmatch(each)))
