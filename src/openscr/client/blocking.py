"""`Client`: a remote Spine for programs and people that do not await anything.

Spec: 00 §6.1.
"""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from openscr.client.profile import Profile
from openscr.client.refusals import RecordRefusal, latest_summary
from openscr.client.spine import DEMO, Posting, SpineClient, Submission
from openscr.clinical import Summary
from openscr.codes import ACS_HAS, ACS_SET, EVENT, EVENT_LIST, GP_SUMMARY, SCR_PERMISSIONS, SUBJECT_ACCESS
from openscr.hl7.presend import Check
from openscr.hl7.presentation import presentation_of
from openscr.spine import (
    Alert,
    AskedPermission,
    Consent,
    ConsentChange,
    ConsentOutcome,
    ConsentQuery,
    DissentOverride,
    DocumentFilter,
    DocumentListOutcome,
    DocumentListQuery,
    DocumentOutcome,
    DocumentQuery,
    EventListOutcome,
    EventListQuery,
    EventOutcome,
    EventQuery,
    MessageIds,
    Outcome,
    PermissionQuery,
    PermissionsOutcome,
    ScrPermissionsOutcome,
    ScrPermissionsQuery,
    SubjectAccessOutcome,
    SubjectAccessQuery,
)

T = TypeVar("T")

NO_OVERRIDE: Final = DissentOverride()
ALL_DOCUMENTS: Final = DocumentFilter()


class Client:
    """One app and one person at a remote Spine, verb by verb. Use it in ``with``; threads may call it at once.

    ``spine`` is the `SpineClient` that does the work, on an event loop of its own; who sends and who is present come
    from its profile. Refusals are outcomes of the verbs; what a verb raises is told by `SpineClient`.
    """

    def __init__(self, spine: SpineClient) -> None:
        self.spine = spine
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def demo(cls, at: str = DEMO, app: str = "app-gp", *, check: Check = Check.STRICT) -> Self:
        """Return the demo's GP system with Dr Demopractice, or another app of the demo. Spec: 00 §5, 35 §9.5."""
        return cls(SpineClient(at, Profile.demo(app), check=check))

    def __enter__(self) -> Self:
        """Begin: listen when there is a callback listener."""
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=_run_loop, args=(self._loop,), name="openscr client", daemon=True).start()
        try:
            self._run(self.spine.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        try:
            self._run(self.spine.__aexit__())
        finally:
            self._stop()

    def _stop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise RuntimeError("a Client is used in a with statement")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    # --- summaries --------------------------------------------------------------------------------------------------

    def upload_document(self, document: bytes, *, polling: bool = False, posting: Posting | None = None) -> Submission:
        """Send a ``GPSummary`` element as it is, reliably or over the polling channel; return what the record says."""
        return self._run(self.spine.upload_document(document, polling=polling, posting=posting))

    def upload(self, summary: Summary, *, polling: bool = False, posting: Posting | None = None) -> Submission:
        """Complete a summary, send it, and return what the record says. Spec: 00 §6.2, 10 §16."""
        return self._run(self.spine.upload_summary(summary, polling=polling, posting=posting))

    def upload_file(self, path: str | Path, *, polling: bool = False) -> Submission:
        """Send the ``GPSummary`` element that a file holds."""
        return self.upload_document(Path(path).read_bytes(), polling=polling)

    def submit(self, payload: bytes, *, posting: Posting | None = None) -> Submission:
        """Send a complete upload or withdrawal interaction byte for byte."""
        return self._run(self.spine.submit(payload, posting=posting))

    def withdraw(
        self,
        nhs_number: str,
        event_id: str,
        reason: str,
        *,
        event_type: str | None = None,
        text: str = "",
        posting: Posting | None = None,
    ) -> Submission:
        """Withdraw an event; ``reason`` is 01, 02 or 03. Spec: 10 §10.

        The interaction follows from the type of the event: asked for when it is not given.
        Raises: `ValueError` when the profile has no person: a withdrawal names one.
        """
        return self._run(self._withdraw(nhs_number, event_id.upper(), reason, event_type, text, posting))

    async def _withdraw(
        self,
        nhs_number: str,
        event_id: str,
        reason: str,
        event_type: str | None,
        text: str,
        posting: Posting | None,
    ) -> Submission:
        caller = self.spine.profile.caller
        if caller.person is None:
            raise ValueError("a withdrawal needs the person who withdraws")
        if event_type is None:
            query = EventListQuery(MessageIds("", EVENT_LIST), nhs_number)
            events = (await self.spine.list_events(caller, query)).events
            event_type = next((e.event_type for e in events if e.event_id.upper() == event_id), GP_SUMMARY)
        return await self.spine.withdraw_event(caller, nhs_number, event_id, event_type, reason, text, posting=posting)

    def list_events(self, nhs_number: str, override: DissentOverride = NO_OVERRIDE) -> EventListOutcome:
        """List all events of a patient. Spec: 20 §7.1."""
        query = EventListQuery(MessageIds("", EVENT_LIST), nhs_number, override)
        return self._run(self.spine.list_events(self.spine.profile.caller, query))

    def retrieve(
        self, nhs_number: str, event_id: str | None = None, override: DissentOverride = NO_OVERRIDE
    ) -> EventOutcome:
        """Return one event with its document, without an id the current summary.

        ``event`` is none when the request was refused, and when the patient has no current summary. Spec: 20 §7.2.
        """
        return self._run(self._retrieve(nhs_number, event_id, override))

    async def _retrieve(self, nhs_number: str, event_id: str | None, override: DissentOverride) -> EventOutcome:
        caller = self.spine.profile.caller
        if event_id is None:
            query = EventListQuery(MessageIds("", EVENT_LIST), nhs_number, override)
            listed = await self.spine.list_events(caller, query)
            current = latest_summary(listed.events)
            if current is None:
                return EventOutcome(listed.outcome, nhs_number)
            event_id = current.event_id
        query_of_one = EventQuery(MessageIds("", EVENT), nhs_number, event_id.upper(), override)
        return await self.spine.retrieve_event(caller, query_of_one)

    def text(self, nhs_number: str, event_id: str | None = None, *, width: int = 100) -> str:
        """Return the words of a summary, for a terminal of ``width`` columns. Spec: 10 §9.

        Raises: `RecordRefusal` when it may not be read, or there is none.
        """
        found = self.retrieve(nhs_number, event_id)
        if found.event is None:
            raise RecordRefusal(found.outcome)
        return presentation_of(found.document).text(width)

    # --- documents --------------------------------------------------------------------------------------------------

    def list_documents(
        self,
        nhs_number: str,
        wanted: DocumentFilter = ALL_DOCUMENTS,
        override: DissentOverride = NO_OVERRIDE,
        *,
        express: bool = False,
    ) -> DocumentListOutcome:
        """List the documents of a patient that are wanted, over SOAP or as an express message. Spec: 20 §4, §13."""
        query = DocumentListQuery(MessageIds("", ""), nhs_number, override, wanted)
        return self._run(self.spine.list_documents(self.spine.profile.caller, query, express=express))

    def retrieve_document(
        self,
        nhs_number: str,
        document_id: str,
        override: DissentOverride = NO_OVERRIDE,
        *,
        express: bool = False,
    ) -> DocumentOutcome:
        """Return one document with its content. Spec: 20 §4, §13."""
        query = DocumentQuery(MessageIds("", ""), nhs_number, document_id.upper(), override=override)
        return self._run(self.spine.retrieve_document(self.spine.profile.caller, query, express=express))

    def retrieve_record(self, nhs_number: str, override: DissentOverride = NO_OVERRIDE) -> SubjectAccessOutcome:
        """Return every event with its document, for the person whose record it is. Spec: 20 §10.5."""
        query = SubjectAccessQuery(MessageIds("", SUBJECT_ACCESS), nhs_number, override)
        return self._run(self.spine.retrieve_record(self.spine.profile.caller, query))

    def check_scr_permissions(self, nhs_number: str) -> ScrPermissionsOutcome:
        """Ask, for the person of the profile, what stands in the way of viewing a summary. Spec: 20 §11.

        Raises: `ValueError` when the profile has no person: the question is about one.
        """
        person = self.spine.profile.person
        if person is None:
            raise ValueError("an SCR application asks for the person who would look")
        asker = person.role_profile_id
        query = ScrPermissionsQuery(MessageIds("", SCR_PERMISSIONS), nhs_number, asker, role_profile=asker)
        return self._run(self.spine.check_scr_permissions(self.spine.profile.caller, query))

    # --- alerts -----------------------------------------------------------------------------------------------------

    def send_alert(self, alert: Alert) -> Submission:
        """Send a privacy alert reliably; return what is said to it. Raises: `ValueError` when it lacks something."""
        return self._run(self.spine.send_alert(alert))

    def post_alert(self, alert: Alert) -> Outcome:
        """Post a privacy alert as FHIR JSON. Spec: 60 §8.2."""
        return self._run(self.spine.post_alert(alert))

    # --- consent ----------------------------------------------------------------------------------------------------

    def get_consent(self, nhs_number: str) -> ConsentOutcome:
        """Return the stored consent. Spec: 30 §5.2."""
        return self._run(
            self.spine.get_consent(self.spine.profile.caller, ConsentQuery(MessageIds("", ""), nhs_number))
        )

    def has_permissions(self, nhs_number: str, *asked: AskedPermission) -> PermissionsOutcome:
        """Say of each permission what holds for it; with none named, of Store and View for everyone. Spec: 30 §5.3."""
        sets = asked or (AskedPermission("Store"), AskedPermission("View"))
        query = PermissionQuery(MessageIds("", ACS_HAS), nhs_number, sets)
        return self._run(self.spine.has_permissions(self.spine.profile.caller, query))

    def set_consent(self, nhs_number: str, value: Consent) -> Outcome:
        """Set the patient's consent; `Consent.ASK` clears it. Spec: 30 §5.1."""
        change = ConsentChange(MessageIds("", ACS_SET), nhs_number, value)
        return self._run(self.spine.set_consent(self.spine.profile.caller, change))


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Run the client's event loop on its own thread, and close it when it is stopped."""
    try:
        loop.run_forever()
    finally:
        loop.close()
