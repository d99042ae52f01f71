"""A GP Summary as a whole: whose it is, who wrote it, what it says under each heading.

Spec: 00 §6.2, 10 §4, §5, §16.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from openscr.clinical.entries import Entry, Refusal
from openscr.clinical.headings import HEADINGS
from openscr.clinical.participants import Organisation, Person, SdsOrganisation, SdsPerson
from openscr.clinical.values import Time
from openscr.codes import INITIAL_UPLOAD, UPLOAD

Author = SdsPerson | Person | SdsOrganisation | Organisation
"""Who may author a summary: a person, of an initial summary an organisation. Spec: 10 §4.1, §5."""


@dataclass(frozen=True, slots=True)
class Patient:
    """The patient, by NHS number: ten digits. Spec: 10 §4.5."""

    nhs_number: str


@dataclass(frozen=True, slots=True)
class Presentation:
    """The text that people read: one ``html`` element of the presentation namespace, serialised.

    ``html`` is empty when a message that was read carries none. Spec: 10 §9.
    """

    html: str
    id: str | None = None
    created: Time | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Medications:
    """The heading Medication: one coded heading that is printed as three. Spec: 10 §7."""

    acute: tuple[Entry, ...] = ()
    current_repeat: tuple[Entry, ...] = ()
    discontinued: tuple[Entry, ...] = ()
    administrations: tuple[Entry, ...] = ()

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over all medications in written order."""
        yield from (*self.acute, *self.current_repeat, *self.discontinued, *self.administrations)

    def __bool__(self) -> bool:
        """Whether there is any medication."""
        return any(True for _ in self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A GP Summary. Any entry may stand under any heading; ``replaces`` is the event id of the summary it replaces.

    Spec: 00 §6.2, 10 §4, §5.
    """

    patient: Patient
    author: Author
    interaction: str = UPLOAD
    event_id: str | None = None
    message_id: str | None = None
    replaces: str | None = None
    status: str = "active"
    created: Time | None = None
    allergies: tuple[Entry, ...] = ()
    medications: Medications = Medications()
    problems: tuple[Entry, ...] = ()
    care_events: tuple[Entry, ...] = ()
    preferences: tuple[Entry, ...] = ()
    diagnoses: tuple[Entry, ...] = ()
    circumstances: tuple[Entry, ...] = ()
    services: tuple[Entry, ...] = ()
    lifestyle: tuple[Entry, ...] = ()
    family_history: tuple[Entry, ...] = ()
    treatments: tuple[Entry, ...] = ()
    administrative_procedures: tuple[Entry, ...] = ()
    observations: tuple[Entry, ...] = ()
    investigation_results: tuple[Entry, ...] = ()
    investigations: tuple[Entry, ...] = ()
    advice: tuple[Entry, ...] = ()
    documents: tuple[Entry, ...] = ()
    patient_correspondence: tuple[Entry, ...] = ()
    third_party_correspondence: tuple[Entry, ...] = ()
    risks_to_patient: tuple[Entry, ...] = ()
    risks_to_others: tuple[Entry, ...] = ()
    links: tuple[Entry, ...] = ()
    presentation: Presentation | None = None

    @property
    def initial(self) -> bool:
        """Whether this is an initial summary: text only, in the name of the practice. Spec: 10 §5."""
        return self.interaction == INITIAL_UPLOAD

    @property
    def dissent(self) -> bool:
        """Whether the summary states that the patient refuses: it holds a Refusal. Spec: 10 §9.2, §16."""
        return any(isinstance(entry, Refusal) for entry in self.entries())

    def under(self, member: str) -> tuple[Entry, ...]:
        """Return the entries under a heading, by its member name."""
        return tuple(cast("tuple[Entry, ...]", getattr(self, member)))

    def entries(self) -> Iterator[Entry]:
        """Iterate over every entry in written order."""
        for heading in HEADINGS:
            yield from self.under(heading.member)

    def nested_entries(self) -> Iterator[Entry]:
        """Iterate over every entry in written order, each followed by the findings that stand inside it."""
        for entry in self.entries():
            yield entry
            yield from getattr(entry, "members", ())
