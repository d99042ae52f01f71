"""`openscr admin`: the schema, proof that the store is intact, alerts, consents, messages still to be delivered.

Spec: 00 §4 ``admin``; 35 §7; 40 §6.3.
"""

import asyncio
from contextlib import suppress
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openscr.cli import alerts, audit, whole_store
from openscr.cli.console import fail, note, say, say_json, say_table
from openscr.cli.options import Data, Json, StoreUrl, Verbose, opened_store, read_settings
from openscr.errors import StoreError

if TYPE_CHECKING:
    from openscr.store.interface import ConsentRow, OutboxRow, OutboxState, VerifyReport

commands = typer.Typer(help="Operations.", no_args_is_help=True)
outbox = typer.Typer(help="Acknowledgements still to be delivered.", no_args_is_help=True)
commands.add_typer(outbox, name="outbox")
commands.add_typer(alerts.commands, name="alerts")
commands.add_typer(audit.commands, name="audit")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="admin")


commands.command("backup", epilog="Example:  openscr admin backup --to /var/backups/openscr")(whole_store.backup)
commands.command("restore", epilog="Example:  openscr admin restore --from FILE --to sqlite:////srv/new/openscr.db")(
    whole_store.restore
)


@commands.command("migrate", epilog="Example:  openscr admin migrate --data /var/lib/openscr")
def migrate(
    source: Annotated[
        str | None, typer.Option("--from", metavar="URL", help="Move everything from this store, which nobody serves …")
    ] = None,
    target: Annotated[str | None, typer.Option("--to", metavar="URL", help="… to this one, which is empty.")] = None,
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Create the schema, or bring it up to date, and say what was done; with --from and --to, move a store.

    A move copies every row, compares it with the original, and leaves the original as it is. Stopped on its way, it
    goes on where it was when the same command is given again.
    """
    if source is not None or target is not None:
        if source is None or target is None or data is not None or store is not None:
            raise typer.BadParameter("--from and --to go together, and without --data and --store")
        whole_store.move(source, target, as_json=as_json)
        return
    before, after = asyncio.run(_migrate(data, store))
    if as_json:
        say_json({"before": before, "after": after, "changed": before != after})
    elif before == after:
        say(f"the schema is up to date ({after})")
    elif before is None:
        say(f"schema created ({after})")
    else:
        say(f"schema brought from {before} to {after}")


async def _migrate(data: Path | None, store: str | None) -> tuple[str | None, str | None]:
    from openscr.store.opening import open_store

    settings = read_settings(data, store)
    settings.make_data_folder()
    opened = open_store(settings.store)
    before = None
    # Opening says better what is wrong with a file.
    with suppress(StoreError):
        before = await opened.current_revision()
    await opened.open()
    try:
        return before, await opened.current_revision()
    finally:
        await opened.close()


@commands.command("verify", epilog="Example:  openscr admin verify")
def verify(
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="FILE", help="Hold the audit against a checkpoint made earlier too."),
    ] = None,
    backup: Annotated[
        Path | None, typer.Option("--backup", metavar="FILE", help="Look at a backup instead of the store.")
    ] = None,
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Prove that the store and its audit chain are intact; exits with 1 when they are not."""
    if backup is not None and (data is not None or store is not None):
        raise typer.BadParameter("--backup goes without --data and --store")
    heads = checkpoint.read_bytes() if checkpoint is not None else None
    report = asyncio.run(_verify(data, store, backup, heads, as_json=as_json))
    what = "store" if backup is None else "backup"
    if as_json:
        say_json(
            {
                "intact": report.intact,
                "audit_rows": report.audit_rows,
                "events": report.events,
                "messages": report.receipts,
                "faults": list(report.faults),
            }
        )
    else:
        say(f"{report.events} events, {report.receipts} messages and {report.audit_rows} audit rows looked at")
        for fault in report.faults:
            say(f"  {fault}")
    if not report.intact:
        fail(f"the {what} is NOT intact: {len(report.faults)} fault{'s' if len(report.faults) > 1 else ''}")
    if not as_json:
        say(f"the {what} is intact")


async def _verify(
    data: Path | None, store: str | None, backup: Path | None, checkpoint: bytes | None, *, as_json: bool
) -> "VerifyReport":
    from openscr.store.checkpoint import read_checkpoint

    heads = read_checkpoint(checkpoint).heads if checkpoint is not None else ()
    if backup is not None:
        return await whole_store.verify_file(backup, heads, as_json=as_json)
    async with opened_store(data, store) as opened:
        return await opened.verify(heads)


# --- consent --------------------------------------------------------------------------------------------------------


@commands.command("consent-history", epilog="Example:  openscr admin consent-history   (asks for the NHS number)")
def consent_history(data: Data = None, store: StoreUrl = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Print every consent that was ever set for one patient, the oldest first: what, when, by whom, where.

    The NHS number is asked for, or read from standard input: it stands in no command line and in no history of a shell.
    That somebody looked stands in the patient's audit.
    """
    rows = asyncio.run(_consent_history(data, store, audit.ask_number()))
    forms = [_consent_form(row) for row in rows]
    if as_json:
        say_json(forms)
    elif not forms:
        say("no consent was ever set: Ask holds")
    else:
        headings = tuple(heading.replace("_", " ") for heading in forms[0])
        say_table(headings, [tuple(str(value or "") for value in form.values()) for form in forms])


async def _consent_history(data: Path | None, store: str | None, nhs_number: str) -> "tuple[ConsentRow, ...]":
    from openscr.identifiers import utc_now
    from openscr.record.reading import read_consent_history

    async with opened_store(data, store) as opened:
        return await read_consent_history(opened, nhs_number, getuser(), utc_now())


def _consent_form(row: "ConsentRow") -> dict[str, Any]:
    return {
        "version": row.version,
        "value": row.value.value,
        "set_at": row.set_at.isoformat(timespec="seconds"),
        "user": row.user_id,
        "role_profile": row.role_profile_id,
        "job_role": row.job_role,
        "organisation": row.organisation,
        "asid": row.asid,
        "message_id": row.message_id,
        "transport_id": row.wsa_id,
        "source": row.source,
    }


# --- the outbox -----------------------------------------------------------------------------------------------------


def _read_state(text: str | None) -> "OutboxState | None":
    from openscr.store.interface import OutboxState

    if text is None:
        return None
    try:
        return OutboxState(text)
    except ValueError:
        raise typer.BadParameter(f"a state is one of {', '.join(OutboxState)}") from None


@outbox.command("list", epilog="Example:  openscr admin outbox list --state failed")
def list_outbox(
    state: Annotated[str | None, typer.Option("--state", metavar="S", help="open, failed or undeliverable.")] = None,
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Print what must still be delivered, the oldest first. What is damaged can be seen, but not sent."""
    rows = asyncio.run(_list(data, store, _read_state(state)))
    forms = [_row_form(row) for row in rows]
    if as_json:
        say_json(forms)
    elif not forms:
        say("nothing is waiting")
    else:
        headings = ("message id", "party", "interaction", "state", "attempts", "next attempt", "last error")
        say_table(headings, [tuple(str(value or "") for value in form.values()) for form in forms])


async def _list(data: Path | None, store: str | None, state: "OutboxState | None") -> "list[OutboxRow]":
    async with opened_store(data, store) as opened:
        return await opened.list_outbox(state)


def _row_form(row: "OutboxRow") -> dict[str, Any]:
    return {
        "message_id": row.id,
        "party_key": row.to_party,
        "interaction": f"{row.service}:{row.interaction}",
        "state": "damaged" if row.damaged else row.state.value,
        "attempts": row.attempts,
        "next_attempt": row.next_attempt_at.isoformat(timespec="seconds") if row.next_attempt_at else None,
        "last_error": row.last_error,
    }


@outbox.command("resend", epilog="Example:  openscr admin outbox resend --failed")
def resend(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Message ids, as list prints them.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that ended as failed or undeliverable.")] = False,
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Begin the attempts again: same MessageId, same bytes. The running service sends, within a second or two."""
    if bool(ids) == failed:
        raise typer.BadParameter("name message ids, or --failed")
    wanted = {one.upper() for one in ids or ()}
    reopened, left, damaged = asyncio.run(_resend(data, store, wanted))
    missing = sorted(wanted - set(reopened) - set(left) - set(damaged))
    if as_json:
        say_json({"reopened": reopened, "already_open": left, "damaged": damaged, "unknown": missing})
    else:
        say(f"{len(reopened)} to be sent again")
    for one in left if not as_json else ():
        note(f"{one} is open already")
    if missing:
        fail(f"no such message in the outbox: {', '.join(missing)}")
    if damaged:
        fail(f"damaged, cannot be sent: {', '.join(damaged)}")


async def _resend(data: Path | None, store: str | None, wanted: set[str]) -> tuple[list[str], list[str], list[str]]:
    from openscr.delivery.outbox import reopen
    from openscr.identifiers import utc_now
    from openscr.store.interface import OutboxState

    reopened: list[str] = []
    left: list[str] = []
    damaged: list[str] = []
    async with opened_store(data, store) as opened:
        for row in await opened.list_outbox():
            if wanted and row.id not in wanted:
                continue
            if row.damaged:
                damaged.append(row.id)
                continue
            if row.state is OutboxState.OPEN:
                left += [row.id] if wanted else []
                continue
            # Somebody else may have begun it again meanwhile.
            (reopened if await opened.change_outbox(reopen(row, utc_now())) else left).append(row.id)
    return reopened, left, damaged
