"""HAS of the Access Control Service: do these accessors hold these permissions? Read, answered, asked, understood.

Its rules H1-H13 are in the rule book of the service.

Spec: 30 §4, §5.3, §6.
"""

from dataclasses import replace

from lxml import etree

from openscr.codes import ACS_HAS, ACS_HAS_ANSWER
from openscr.errors import SUPERSEDED, UnreadableMessage
from openscr.hl7.acknowledgement import read_outcome
from openscr.hl7.acs import (
    NAMESPACES,
    WRAPPERS,
    ConsentMessage,
    judge_consent_message,
    payload_of,
    stated_number,
    steps,
    word_at,
    wrap,
    write_asked,
    write_assertion,
    write_context,
    write_permissions,
)
from openscr.hl7.psis import HeaderFacts
from openscr.hl7.rules.consent_wrapper import PAYLOADS
from openscr.hl7.wrapper import (
    Heading,
    Wrapper,
    descend,
    local_name,
    write_acknowledgement_element,
    write_message,
)
from openscr.spine import (
    Accessor,
    AskedPermission,
    Consent,
    MessageIds,
    PermissionQuery,
    PermissionsOutcome,
    Person,
)
from openscr.transport.xml import text_of


def read_permission_message(wrapper: Wrapper, header: HeaderFacts | None) -> ConsentMessage:
    """Read a HAS whose wrapper was read already. Nothing is raised. Spec: 30 §5.3, §9.2."""
    judged = judge_consent_message(wrapper, ACS_HAS, header)
    payload = payload_of(wrapper, ACS_HAS)
    if judged.rejected or judged.findings or payload is None:
        return judged
    number = stated_number(payload, ACS_HAS)
    asked = tuple(_asked(one, number) for one in descend(payload, *steps("accessControlQuery/accessControlSet")))
    return replace(judged, request=PermissionQuery(MessageIds(wrapper.message_id, ACS_HAS), number, asked))


def _asked(one: etree._Element, number: str) -> AskedPermission:
    identity = [each for name in ("Id", "id") for each in descend(one, *steps(f"accessor/accessorId/{name}"))]
    accessor = Accessor(word_at(one, "accessor/type"), word_at(one, "accessor/accessorId/name"))
    if identity and not accessor.name:
        accessor = Accessor(accessor.type, "", identity[0].get("root") or "", identity[0].get("extension") or "")
    resource = word_at(one, "resource/Id")
    return AskedPermission(
        word_at(one, "function/code"),
        accessor,
        word_at(one, "resource/type"),
        word_at(one, "function/context"),
        # The answer about a superseded number speaks of the one that holds now.
        "" if resource == number else resource,
    )


def write_has_answer(
    heading: Heading,
    answer: PermissionsOutcome,
    reference: str,
    wrapper: str | None = None,
    *,
    namespace: bool = True,
) -> bytes:
    """Write one assertion for each set that was asked, Ask among them, in the order of the question.

    ``namespace`` as `openscr.hl7.acs.write_permissions`. Spec: 30 §4.2, §6.1.
    """
    assertions = "".join(write_assertion(value.value, answer.nhs_number, asked) for asked, value in answer.permissions)
    act = write_permissions(
        WRAPPERS[ACS_HAS], answer.nhs_number, assertions, superseded=answer.superseded, namespace=namespace
    )
    acknowledgement = write_acknowledgement_element("AA", reference)
    message = write_message(ACS_HAS_ANSWER, heading, act.encode(), acknowledgement=acknowledgement)
    return wrap(ACS_HAS, message, wrapper)


# --- the client's side ----------------------------------------------------------------------------------------------


def write_has(heading: Heading, query: PermissionQuery, person: Person | None) -> bytes:
    """Write a HAS. Spec: 30 §4."""
    request = PAYLOADS[ACS_HAS]
    sets = "".join(
        f"<crs:accessControlSet>{write_asked(query.nhs_number, asked)}</crs:accessControlSet>" for asked in query.asked
    )
    payload = (
        f"<crs:{request}><crs:accessControlQuery>{write_context(query.nhs_number)}{sets}</crs:accessControlQuery>"
        f"</crs:{request}>"
    )
    return write_message(ACS_HAS, heading, payload.encode(), person=person, prefix=NAMESPACES)


def read_has_answer(root: etree._Element, nhs_number: str) -> PermissionsOutcome:
    """Read the answer to a HAS, whatever namespace its payload is in. Raises: `UnreadableMessage`. Spec: 30 §4.3 D3."""
    outcome, _ = read_outcome(root)
    permissions = []
    for assertion in root.iter():
        if local_name(assertion) != "accessControlAssertion":
            continue
        values: dict[str, etree._Element] = {}
        for element in assertion.iter():
            values.setdefault(local_name(element), element)
        try:
            value = Consent(_word(values.get("permission")))
        except ValueError:
            raise UnreadableMessage("unknown permission word") from None
        asked = AskedPermission(
            _word(values.get("code")),
            _accessor(values.get("accessor")),
            _resource(values.get("resource"), "type"),
            _word(values.get("context")),
            _resource(values.get("resource"), "Id"),
        )
        permissions.append((asked, value))
    superseded = any(issue.code == SUPERSEDED.code for issue in outcome.issues)
    return PermissionsOutcome(outcome, nhs_number, tuple(permissions), superseded)


def _word(element: etree._Element | None) -> str:
    return text_of(element).strip()


def _resource(resource: etree._Element | None, name: str) -> str:
    return _word(next((each for each in resource if local_name(each) == name), None)) if resource is not None else ""


def _accessor(accessor: etree._Element | None) -> Accessor:
    if accessor is None:
        return Accessor("", "")
    values = {local_name(each): each for each in accessor.iter()}
    identity = values.get("id", values.get("Id"))
    name = _word(values.get("name"))
    if identity is None:
        return Accessor(_word(values.get("type")), name)
    return Accessor(_word(values.get("type")), name, identity.get("root") or "", identity.get("extension") or "")
