"""Level ``strict`` beside the published schemas: valid messages and distorted ones, judged by both.

    python -m conformance.agreement [--messages N] [--seed S]

Both must say "valid", or both "not valid". Where they do not, every finding must have one of `EXPLANATIONS`.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cache
from itertools import count, islice
from random import Random
from typing import Final

from lxml import etree

from alerts import an_alert
from clinical.generation import Generator
from openscr.codes import (
    EVENT_LIST_SM_ANSWER,
    INITIAL_UPLOAD,
    POLLING_UPLOAD,
    PSIS_NS,
    UPLOAD,
)
from openscr.hl7.alert import write_alert
from openscr.hl7.gp_summary import write_upload
from openscr.hl7.strict import STRICT_INTERACTIONS, check_strict
from openscr.hl7.summary_writer import compose, person_of, write_summary
from openscr.hl7.wrapper import HL7, Finding, Heading, local_name
from openscr.spine import Person
from openscr.testbench.made_population import made_population
from openscr.transport.xml import read_xml
from openscr.validation.schemas import Schemas
from shared import MESSAGES, shared

from .distortion import distorted

NOW = datetime(2025, 11, 11, 10, 30, 45, tzinfo=UTC)
HEADING = Heading("A1B2C3D4-0000-4000-8000-000000000001", "20251111103045", "V3NPfIT4.2.00", "990000000004", "2" * 12)

_NUMBERS = count(1)
ALERT = write_alert(
    replace(HEADING, message_id="A1B2C3D4-0000-4000-8000-00000000000A"),
    an_alert("9990012318"),
    Person("555000000101", "555000000102", "R8000"),
    lambda: f"A1B2C3D4-0000-4000-8000-{next(_NUMBERS):012}",
)
"""An alert as we write it: the specification has a table of it, and no example. Spec: 80 §5.2."""


@dataclass(frozen=True)
class Judgement:
    """What both say about a message."""

    message: etree._Element
    interaction: str
    how: str
    findings: list[Finding]
    schema: list[tuple[etree._Element, str]]

    @property
    def agreed(self) -> bool:
        """Whether both take it, or neither does."""
        return bool(self.findings) is bool(self.schema)


# --- messages ---------------------------------------------------------------------------------------------------------


def interactions_in(data: bytes) -> Iterator[etree._Element]:
    """Return the interaction that a file holds, as a document of its own, when there is a grammar of it."""
    for element in read_xml(data).iter("*"):
        if local_name(element) in STRICT_INTERACTIONS and element.find(f"{HL7}ControlActEvent") is not None:
            yield etree.fromstring(etree.tostring(element, with_tail=False))
            return


def examples() -> list[etree._Element]:
    """Return the interaction of every example message, and an alert."""
    found = [each for path in sorted(MESSAGES.glob("*/*.xml")) for each in interactions_in(path.read_bytes())]
    alone = {local_name(element): element for element in found}
    twin = etree.fromstring(etree.tostring(alone["REPC_IN150018UK02"]).replace(b"150018UK02", b"150017UK02"))
    return [*found, twin, etree.fromstring(ALERT)]


def generated(random: Random) -> etree._Element:
    """Return a summary of any shape that the model can hold, in a message. One in ten stands alone."""
    generator = Generator(random)
    summary = compose(generator.summary(), generator.uuid, NOW)
    document = write_summary(summary)
    if random.random() < 0.1:
        return etree.fromstring(document)
    interaction = summary.interaction if random.random() < 0.8 or summary.initial else POLLING_UPLOAD
    return etree.fromstring(write_upload(interaction, HEADING, document, person_of(summary)))


@cache
def population() -> tuple[bytes, ...]:
    """Return the documents of some synthetic patients."""
    patients = islice(made_population(40, 7, date(2025, 11, 1)), 40)
    return tuple(
        document for patient in patients for step in patient.steps if (document := getattr(step, "document", None))
    )


def messages(random: Random, wanted: int) -> Iterator[tuple[etree._Element, str]]:
    """Iterate over valid and distorted messages of every interaction, with the names of what was done to them."""
    bases = examples()
    while True:
        for number, example in enumerate(bases):
            base, rest = example, number % 4
            if rest == 1:
                base = generated(random)
            elif rest == 2:
                document = random.choice(population())
                initial = b'code="196971000000103"' in document
                base = etree.fromstring(write_upload(INITIAL_UPLOAD if initial else UPLOAD, HEADING, document, None))
            for each in dict.fromkeys((base, example)):
                yield each, "as it is"
                for _ in range(4):
                    yield distorted(each, random, most=2)
                    wanted -= 1
            if wanted <= 0:
                return


@cache
def schemas() -> Schemas:
    """Return the published schemas. Skips the test that asks when they are not there."""
    return Schemas(shared("mim"))


def judge(message: etree._Element, how: str) -> Judgement | None:
    """Ask both about a message; none when there is no schema of it."""
    name = local_name(message)
    if name == "GPSummary":
        code = message.find(f"{HL7}code")
        initial = code is not None and code.get("code") == "196971000000103"
        name = INITIAL_UPLOAD if initial else UPLOAD
    if name not in STRICT_INTERACTIONS:
        return None
    errors = schemas().errors(message)
    if errors is None:
        return None
    return Judgement(message, name, how, check_strict(message, name), errors)


# --- explanations -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Explanation:
    """Why level strict and the schemas may differ: which findings it is about, or whether it is all of the errors."""

    name: str
    reason: str
    finding: Callable[[Judgement, Finding], bool] = field(default=lambda _judgement, _finding: False)
    errors: Callable[[Judgement], bool] = field(default=lambda _judgement: False)


def _matches(pattern: str) -> Callable[[Judgement, Finding], bool]:
    compiled = re.compile(pattern)
    return lambda _, finding: compiled.search(finding.text) is not None


def _inside(finding: Finding, *tags: str) -> bool:
    place = finding.place
    return place is not None and (place.tag in tags or next(place.iterancestors(*tags), None) is not None)


_CONTAINERS: Final = (f"{{{PSIS_NS}}}hl7Data", f"{{{PSIS_NS}}}author", f"{HL7}component7")


_PERMISSIONS: Final = f"{HL7}permissions"


def _without_documents(message: etree._Element) -> etree._Element:
    """Return an answer whose documents are empty."""
    copy = etree.fromstring(etree.tostring(message))
    for container in copy.iter(*_CONTAINERS):
        for document in container.iterchildren("*"):
            document[:] = []
            document.text = None
            document.attrib.clear()
    return copy


EXPLANATIONS: Final = (
    Explanation(
        "one code of the table",
        "In the older models of wrapper, control act, withdrawal and device the schema lets an attribute hold any code "
        "of a vocabulary of HL7, where our tables (10 §2, §3, §10; 20 §3; 30 §3) name the one that is meant: an author "
        "with the type of a performer says something else.",
        _matches(r"^@(classCode|moodCode|typeCode|determinerCode|contextControlCode|contextConductionInd) of "),
    ),
    Explanation(
        "withdrawals",
        "The schema of withdrawals has only loose types; level strict looks at UUIDs, OIDs and code systems itself, as "
        "10 §10 wants it.",
        lambda _, finding: finding.rule == "wd-strict" and _inside(finding, f"{HL7}MessageWithdrawal"),
    ),
    Explanation(
        "pointers",
        "A pointer to an entry that is not in the summary is a fault at level strict (10 §8); no schema can say so.",
        _matches("must point at an entry of this summary"),
    ),
    Explanation(
        "no text",
        "The schema lets the html of the presentation text be missing; a summary has one (10 §4.2).",
        _matches("^value must hold html, and it is missing"),
    ),
    Explanation(
        "narrower code types",
        "The schema takes qualifiers out of CE and CV and translations out of CV with maxOccurs=0, as 10 §6 says; the "
        "validator that we compare with (libxml2) lets one pass.",
        _matches("has no place for (qualifier|translation|thumbnail)"),
    ),
    Explanation(
        "fixed words",
        "An element with a fixed text holds that text and no elements; the validator (libxml2) does not look.",
        lambda _, finding: _inside(finding, f"{HL7}semanticsText"),
    ),
    Explanation(
        "consent in the list",
        "No schema knows the permissions of the event list of the channel SM: they are taken out before it is asked "
        "(40 §12), and judged by the table of 20 §7.3.",
        lambda judgement, finding: (
            judgement.interaction == EVENT_LIST_SM_ANSWER
            and finding.place is not None
            and (
                _inside(finding, _PERMISSIONS)
                or finding.place.find(_PERMISSIONS) is not None
                or "permissions" in finding.text
            )
        ),
    ),
    Explanation(
        "documents in answers",
        "A clinical document in an answer is that of its author and is judged by itself; the schema looks into it here "
        "and there, wherever it happens to know an element (xsi:type, html).",
        errors=lambda judgement: not schemas().errors(_without_documents(judgement.message)),
    ),
)


def explained(judgement: Judgement) -> list[Explanation] | None:
    """Return what explains a disagreement, or none when something of it is not explained."""
    found: list[Explanation] = []
    for finding in judgement.findings:
        why = next((each for each in EXPLANATIONS if each.finding(judgement, finding)), None)
        if why is None:
            return None
        found.append(why)
    if judgement.schema:
        why = next((each for each in EXPLANATIONS if each.errors(judgement)), None)
        if why is None:
            return None
        found.append(why)
    return found


@dataclass
class Tally:
    """What came of a comparison."""

    valid: int = 0
    invalid: int = 0
    by_interaction: Counter[str] = field(default_factory=Counter)
    by_explanation: Counter[str] = field(default_factory=Counter)
    disagreed: int = 0
    unexplained: list[Judgement] = field(default_factory=list)

    def take(self, judgement: Judgement) -> None:
        """Count one message."""
        self.by_interaction[judgement.interaction] += 1
        if judgement.agreed:
            self.valid += not judgement.findings
            self.invalid += bool(judgement.findings)
            return
        self.disagreed += 1
        why = explained(judgement)
        if why is None:
            self.unexplained.append(judgement)
        else:
            self.by_explanation.update({each.name for each in why})

    @property
    def messages(self) -> int:
        """How many messages were compared."""
        return self.by_interaction.total()


def compare(wanted: int, seed: int) -> Tally:
    """Compare about ``wanted`` distorted messages, and the valid ones that they are made from."""
    tally = Tally()
    for message, how in messages(Random(seed), wanted):
        judgement = judge(message, how)
        if judgement is not None:
            tally.take(judgement)
    return tally


def _path(place: etree._Element | None) -> str:
    above = [] if place is None else [place, *place.iterancestors()]
    return "/".join(local_name(each) for each in reversed(above[:5]))


def describe(judgement: Judgement) -> str:
    """Return a disagreement in some lines."""
    return "\n".join(
        (
            f"{judgement.interaction}, {judgement.how}",
            *(f"  strict: {_path(each.place)}: {each.text}" for each in judgement.findings[:3]),
            *(f"  schema: {_path(place)}: {text}" for place, text in judgement.schema[:3]),
        )
    )


def main() -> int:
    """Compare many messages and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m conformance.agreement", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(datetime.now(UTC).timestamp()))
    arguments = parser.parse_args()
    tally = compare(arguments.messages, arguments.seed)
    print(f"seed {arguments.seed}: {tally.messages} messages of {len(tally.by_interaction)} interactions")
    print(f"both valid {tally.valid}, neither {tally.invalid}, disagreed {tally.disagreed}")
    for name, times in tally.by_explanation.most_common():
        print(f"  {times:>6} {name}")
    for judgement in tally.unexplained[:20]:
        print(f"unexplained: {describe(judgement)}")
    return int(bool(tally.unexplained))


if __name__ == "__main__":
    sys.exit(main())
