"""`openscr alert`: a privacy alert, sent over HL7 V3 or posted as FHIR.

Spec: 00 §4 ``alert``; 35 §6.1; 80 §5.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from openscr.cli.console import fail, say, say_json
from openscr.cli.options import (
    DEMO,
    As,
    At,
    Ca,
    CallbackAt,
    Cert,
    DirectoryFile,
    Json,
    Key,
    NhsNumber,
    User,
    Verbose,
    connect,
    read_settings,
)
from openscr.cli.outcomes import outcome_form, refusal_line, submission_form

if TYPE_CHECKING:
    from openscr.client import Client
    from openscr.spine import Alert


class Type(StrEnum):
    """1: a relationship was claimed; 2: a record was opened without asking."""

    CLAIM = "1"
    ACCESS = "2"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("alert", epilog="Example:  openscr alert 9990012318 --type 2 --reason 5 --user 555000000102")(alert)


def alert(
    nhs_number: NhsNumber,
    type: Annotated[Type, typer.Option("--type", help="1 self-claimed relationship, 2 access without permission.")],
    reason: Annotated[str, typer.Option("--reason", metavar="1-6", help="Why, as told above.")],
    text: Annotated[str, typer.Option("--text", metavar="TEXT", help="The user's reason in their own words.")] = "",
    notification: Annotated[
        str, typer.Option("--notification", metavar="TEXT", help="What the privacy officer is told by.")
    ] = "",
    fhir: Annotated[bool, typer.Option("--fhir", help="Post it as FHIR JSON; default: HL7 V3, reliably.")] = False,
    at: At = DEMO,
    app: As = "app-gp",
    directory: DirectoryFile = None,
    user: User = None,
    cert: Cert = None,
    key: Key = None,
    ca: Ca = None,
    callback: CallbackAt = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Tell the privacy officer of an access: by whom (--user), to whose record, on what ground.

    Reasons: 1 public interest, 2 statute, 3 court order, 4 self-claim in an emergency (type 1), 5 emergency (type 2),
    6 other (type 1).
    """
    from openscr.codes import ALERT_REASONS, FORBIDDEN_ALERTS

    if reason not in ALERT_REASONS:
        raise typer.BadParameter("--reason is a code from 1 to 6")
    if (type.value, reason) in FORBIDDEN_ALERTS:
        raise typer.BadParameter(f"there is no alert of type {type.value} with reason {reason}")
    if user is None:
        raise typer.BadParameter("an alert needs the person whose access it tells of: name one with --user")
    with connect(
        at=at, app=app, directory=directory, user=user, cert=cert, key=key, ca=ca, callback=callback
    ) as client:
        made = _make(client, nhs_number, type.value, reason, text, notification, fhir=fhir, at=at)
        if fhir:
            outcome = client.post_alert(made)
            if as_json:
                say_json(outcome_form(outcome))
            if not outcome.accepted:
                fail(refusal_line(outcome))
            if not as_json:
                say("the alert is stored")
            return
        submission = client.send_alert(made)
    if as_json:
        say_json(submission_form(submission))
    elif submission.accepted is not False:
        say(str(submission))
    if submission.acknowledgement is not None and not submission.accepted:
        fail(refusal_line(submission.acknowledgement.outcome))


def _make(
    client: "Client",
    nhs_number: str,
    kind: str,
    reason: str,
    text: str,
    notification: str,
    *,
    fhir: bool,
    at: str,
) -> "Alert":
    """Make the alert of the user whom the profile names. Raises: `ConfigurationError` when code systems are missing."""
    from openscr.codes import ALERT, ALERT_REASONS, ALERT_TYPES
    from openscr.errors import ConfigurationError
    from openscr.fhir.audit_event import REASON_SYSTEM, TYPE_SYSTEM
    from openscr.identifiers import hl7_timestamp, mint_uuid, utc_now
    from openscr.spine import Alert, CodedValue, MessageIds
    from openscr.testbench.alerts import REASON_OID, TYPE_OID

    profile = client.spine.profile
    if profile.user is None:
        raise ConfigurationError("the directory does not say who the person is")
    settings = read_settings(None, None)
    type_system, reason_system = TYPE_SYSTEM, REASON_SYSTEM
    if not fhir:
        # Nobody publishes the OIDs of these code systems: only a test environment has some of its own. No other
        # service takes messages without certificates.
        test = at.startswith("http:")
        type_system = settings.alert_type_oid or (TYPE_OID if test else "")
        reason_system = settings.alert_reason_oid or (REASON_OID if test else "")
        if not type_system or not reason_system:
            raise ConfigurationError(
                "alerts.type_oid and alerts.reason_oid: set the OIDs that the service at this address uses "
                "(openscr.toml, or OPENSCR_ALERTS_TYPE_OID and OPENSCR_ALERTS_REASON_OID)"
            )
    now, reference = utc_now(), mint_uuid()
    return Alert(
        ids=MessageIds("", ALERT),
        nhs_number=nhs_number,
        type=CodedValue(kind, type_system, ALERT_TYPES[kind]),
        reason=CodedValue(reason, reason_system, ALERT_REASONS[reason]),
        occurred_at=now.isoformat(timespec="seconds") if fhir else hl7_timestamp(now),
        user=profile.user,
        system_name=profile.system_name,
        text=text,
        notification=notification or f"Alert: Permission to view override {reference}",
        reference=reference,
    )
