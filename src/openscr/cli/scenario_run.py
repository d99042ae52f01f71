"""One scenario tried: a message that it is meant for, sent as a client would, and what came back held against it.

Nothing is sent twice, so that a scenario for the next few times is not used up by the client's patience.
"""

import asyncio
import json
import secrets
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from lxml import etree

from openscr.cli.options import read_profile
from openscr.cli.outcomes import in_words
from openscr.cli.scenario import call
from openscr.client import Exchange, Profile, SpineClient
from openscr.client.connection import Connection
from openscr.codes import ACS_GET, ACS_SET, EVENT, EVENT_LIST, EVENT_LIST_SM, HL7_NS, POLLING_UPLOAD, UPLOAD
from openscr.errors import EBXML_ERRORS, ConfigurationError, OpenSCRError, WireError
from openscr.hl7.acknowledgement import read_outcome
from openscr.identifiers import mint_uuid
from openscr.spine import (
    Consent,
    ConsentChange,
    ConsentQuery,
    EventListQuery,
    EventQuery,
    MessageIds,
    Outcome,
)
from openscr.testbench.population import fresh_number, synthetic_patient
from openscr.testbench.scenarios.behaviours import BEHAVIOURS
from openscr.testbench.scenarios.facts import Facts
from openscr.testbench.scenarios.form import read_set_scenario
from openscr.testbench.scenarios.running import Scenario
from openscr.testbench.scenarios.sets import SETS
from openscr.testbench.scenarios.treatment import Treatment
from openscr.testbench.stories import State, StepKind
from openscr.transport.ebxml import read_envelope, read_signal
from openscr.transport.interactions import Channel
from openscr.transport.mime import read_multipart
from openscr.transport.soap import ENVELOPE, read_fault
from openscr.transport.xml import read_xml

_PATIENCE: Final = 30.0
"""Seconds that are waited beyond what the scenario itself takes."""

_WHOLE: Final = b"<a><b/></a>"
_TWICE: Final = 2
_CHANNELS: Final = {
    EVENT_LIST: Channel.SOAP,
    EVENT_LIST_SM: Channel.SOAP,
    EVENT: Channel.SOAP,
    ACS_GET: Channel.SOAP,
    ACS_SET: Channel.SOAP,
    UPLOAD: Channel.EBXML,
    POLLING_UPLOAD: Channel.POLLING,
}
"""What can be sent here, and how; the first one that a scenario is meant for is taken."""


@dataclass(slots=True)
class Tried:
    """What was sent and what came back; ``wrong`` says how it differs from the scenario, empty when it does not."""

    name: str
    interaction: str
    asid: str
    exchanges: list[Exchange] = field(default_factory=list)
    outcome: Outcome | None = None
    problem: str = ""
    seconds: float = 0.0
    deliveries: int = 0
    wrong: str = ""

    @property
    def first(self) -> Exchange:
        """The exchange that the scenario took part in."""
        return self.exchanges[0]

    @property
    def came_back(self) -> list[str]:
        """What came back, in words."""
        first = self.first
        lines = [f"HTTP {first.status}, {len(first.answer)} bytes" if first.status else first.problem]
        if self.outcome is not None:
            lines.append(in_words(self.outcome))
        if self.deliveries > 1:
            lines.append(f"the acknowledgement, {self.deliveries} times")
        return [*lines, *([self.problem] if self.problem not in ("", *lines) else [])]

    @property
    def form(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "name": self.name,
            "interaction": self.interaction,
            "asid": self.asid,
            "status": self.first.status,
            "ack": self.outcome.ack.value if self.outcome is not None else None,
            "codes": [issue.code for issue in self.outcome.issues] if self.outcome is not None else [],
            "problem": self.problem,
            "deliveries": self.deliveries,
            "ok": not self.wrong,
            "wrong": self.wrong,
        }


async def run(at: str, name: str) -> Tried:
    """Try a scenario that is set, or a trigger of a named set. Raises: `ConfigurationError`, `DeliveryError`."""
    shown = {each["name"]: each for each in (await call(at, "GET"))["scenarios"]}
    if name in shown:
        if shown[name]["over"]:
            raise ConfigurationError(f"{name} is over: set it again to try it")
        return await _try(at, read_set_scenario(shown[name]))
    found = next((each for named in SETS.values() for each in named.scenarios() if each.name == name), None)
    if found is None:
        raise ConfigurationError(f"no scenario {name} is set, and no named set has one; see openscr scenario list")
    await call(at, "POST", form={"named": found.group})
    try:
        return await _try(at, found)
    finally:
        await call(at, "DELETE", name=found.group)


async def _try(at: str, scenario: Scenario) -> Tried:
    match = scenario.match
    interaction = _interaction_for(scenario)
    number = match.nhs_number or fresh_number(secrets.randbelow(1_000_000), ())
    profile = _impatient(await asyncio.to_thread(read_profile, match.asid or "app-gp", None, None))
    profile = replace(profile, person=profile.person or Profile.demo().person)
    channel = _CHANNELS[interaction]
    treatment = scenario.treatment(Facts(channel, interaction, number, profile.asid))
    tried = Tried(scenario.name, interaction, profile.asid)
    patience = treatment.hold + treatment.late + _PATIENCE
    began = time.monotonic()
    async with SpineClient(
        at,
        profile,
        observer=tried.exchanges.append,
        timeout=patience,
        answer_timeout=patience,
        pause=_give_up if channel is Channel.SOAP else asyncio.sleep,
    ) as client:
        try:
            tried.outcome = await _send(client, interaction, number)
        except _NotAgain:
            pass
        except OpenSCRError as error:
            tried.problem = error.diagnostics
        tried.seconds = time.monotonic() - began
    if not tried.exchanges:
        raise ConfigurationError(f"{scenario.name}: nothing was sent ({tried.problem})")
    if tried.outcome is None:
        tried.outcome = _outcome_in(tried.first.answer)
    if treatment.twice:
        tried.deliveries = await _deliveries(at, profile, _message_id(tried.first))
    tried.wrong = _difference(treatment, tried)
    return tried


def _interaction_for(scenario: Scenario) -> str:
    """Return the interaction to send. Raises: `ConfigurationError` when it is none that can be sent here."""
    channels, wanted = BEHAVIOURS[scenario.behaviour].channels, scenario.match.interactions
    # An answer can be told to be late only where it is a message of its own.
    preferred = (UPLOAD, *_CHANNELS) if scenario.behaviour == "late" else tuple(_CHANNELS)
    for each in preferred:
        if _CHANNELS[each] in channels and (not wanted or each in wanted):
            return each
    raise ConfigurationError(f"{scenario.name} is meant for messages that this command cannot send")


class _NotAgain(OpenSCRError):
    """The client would ask again; the first answer was the one that we wanted to see."""


async def _give_up(_seconds: float) -> None:
    raise _NotAgain("not asked again")


def _impatient(profile: Profile) -> Profile:
    """Return a profile that sends every message once."""
    routes = {
        name: replace(route, contract=replace(route.contract, retries=0, retry_interval=0.0, persist_duration=0.0))
        for name, route in profile.routes.items()
    }
    return replace(profile, routes=MappingProxyType(routes))


async def _send(client: SpineClient, interaction: str, number: str) -> Outcome | None:
    caller, ids = client.profile.caller, MessageIds(mint_uuid(), interaction)
    if interaction in (EVENT_LIST, EVENT_LIST_SM):
        return (await client.list_events(caller, EventListQuery(ids, number))).outcome
    if interaction == EVENT:
        return (await client.retrieve_event(caller, EventQuery(ids, number, mint_uuid()))).outcome
    if interaction == ACS_GET:
        return (await client.get_consent(caller, ConsentQuery(ids, number))).outcome
    if interaction == ACS_SET:
        return await client.set_consent(caller, ConsentChange(ids, number, Consent.ASK))
    patient = synthetic_patient(number, State.CORE, datetime.now(UTC).date())
    step = next(step for step in patient.steps if step.kind is StepKind.UPLOAD)
    document = step.document.replace(step.event_id.encode(), mint_uuid().encode())
    submission = await client.upload_document(document, polling=interaction == POLLING_UPLOAD)
    return submission.acknowledgement.outcome if submission.acknowledgement is not None else None


def _message_id(exchange: Exchange) -> str:
    multipart = read_multipart(exchange.headers["Content-Type"], exchange.request)
    return read_envelope(read_xml(multipart.root.content(exchange.request))).message_id


async def _deliveries(at: str, profile: Profile, message_id: str) -> int:
    """Return how often the answer to a message stands in the demo inbox, as soon as that is more than once."""
    end = time.monotonic() + _PATIENCE
    async with Connection(at) as connection:
        while True:
            _, body = await connection.get(f"/demo/inbox/{profile.party_key}")
            messages = json.loads(body)["messages"]
            found = sum(str(each["ref_to_message_id"]).upper() == message_id.upper() for each in messages)
            if found > 1 or time.monotonic() > end:
                return found
            await asyncio.sleep(0.05)


# --- what came back, held against the scenario ----------------------------------------------------------------------


def _root_of(answer: bytes) -> etree._Element | None:
    try:
        return read_xml(answer, answer=True)
    except WireError:
        return None


def _outcome_in(answer: bytes) -> Outcome | None:
    root = _root_of(answer)
    for element in root.iter("*") if root is not None else ():
        if element.find(f"{{{HL7_NS}}}acknowledgement") is not None:
            try:
                return read_outcome(element)[0]
            except WireError:
                return None
    return None


def _difference(treatment: Treatment, tried: Tried) -> str:
    """Return how what came back differs from what the scenario says, empty when it does not."""
    first, root = tried.first, _root_of(tried.first.answer)
    if treatment.silent or treatment.drop:
        return f"HTTP {first.status} came back whole" if first.status else ""
    status = treatment.status or treatment.answer_status or (500 if treatment.fault else 0)
    if status and first.status != status:
        return f"HTTP {status} should have come"
    if treatment.fault:
        fault = read_fault(root) if root is not None else None
        return "" if fault is not None and fault.codes == (treatment.fault,) else f"no fault {treatment.fault} came"
    if treatment.message_errors:
        signal = read_signal(root) if root is not None else None
        wanted = [EBXML_ERRORS[key].code for key in treatment.message_errors]
        came = [error.code for error in signal.errors] if signal is not None else []
        return "" if came == wanted else f"no ebXML error {', '.join(wanted)} came"
    if treatment.refusal is not None:
        return "" if _same(tried.outcome, treatment.refusal) else f"{treatment.refusal.code} should have come"
    if treatment.content_type and first.answer_headers.get("content-type") != treatment.content_type:
        return "the answer has another Content-Type"
    if treatment.status:
        return ""
    if treatment.edit(_WHOLE) != _WHOLE:
        return "" if root is None or root.tag != ENVELOPE else "the answer is whole"
    if tried.seconds < treatment.hold + treatment.late:
        return f"the answer came after {tried.seconds:.1f} s already"
    if treatment.bytes_per_second and tried.seconds < (len(first.answer) / treatment.bytes_per_second) / 2:
        return "the answer came faster"
    if treatment.twice and tried.deliveries != _TWICE:
        return f"the acknowledgement was delivered {tried.deliveries} times"
    return "" if tried.outcome is not None else tried.problem or "no answer that can be read came"


def _same(came: Outcome | None, wanted: Outcome) -> bool:
    return (
        came is not None
        and came.ack is wanted.ack
        and [issue.code for issue in came.issues] == [issue.code for issue in wanted.issues]
    )
