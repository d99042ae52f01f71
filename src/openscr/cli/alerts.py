"""`openscr admin alerts`: the privacy alerts, listed by who runs the machine, handled by their officers.

Who only runs the machine may see that there are alerts. Opening and changing them is for officers: ``--user`` names the
role profile in whose name it is done, and the policy decides as it does over HTTP.

Spec: 80 §5.3; 35 §6, §9.3.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from openscr.cli.audit import read_time
from openscr.cli.console import fail, note, one_line, say, say_json, say_table
from openscr.cli.options import Data, Json, StoreUrl, Verbose, opened_store, read_settings
from openscr.errors import ConfigurationError

if TYPE_CHECKING:
    from openscr.directory.model import Directory
    from openscr.record.alerts import AlertPage, Alerts, AlertSearch, AlertState, AlertStepped, OpenedAlert
    from openscr.record.subscriptions import Channel, Subscribed, Subscriptions
    from openscr.spine import Caller, MessageIds
    from openscr.store.alert_records import AlertRow

commands = typer.Typer(help="Privacy alerts.", invoke_without_command=True)

Officer = Annotated[str, typer.Option("--user", metavar="URP", help="The officer: a role profile of the directory.")]
Revealed = Annotated[
    bool,
    typer.Option("--patients", help="Show whole NHS numbers and what users wrote; each patient's audit then says so."),
]
_OF_NOBODY = frozenset(
    {"occurred_at", "type/system", "reason/system", "organisation/id", "user/id", "user/role_profile_id", "author"}
)
"""Details of an alert that tell nothing of its patient."""

_HEADINGS = ("id", "raised at", "source", "type", "reason", "state", "patient", "system", "user", "organisation")


@commands.callback(epilog="Example:  openscr admin alerts --json")
def alerts(
    context: typer.Context,
    patients: Revealed = False,
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Print the privacy alerts, the oldest first: those of overrides and those that client systems sent.

    Of an NHS number the last four digits are shown, and nothing of what users wrote. That the list was looked at stands
    in the audit.
    """
    if context.invoked_subcommand is None:
        _print_all(data, store, as_json=as_json, patients=patients)
    elif data or store or as_json or patients or verbose:
        raise typer.BadParameter(f"options stand behind the command: openscr admin alerts {context.invoked_subcommand}")


def _print_all(data: Path | None, store: str | None, *, as_json: bool, patients: bool) -> None:
    rows = asyncio.run(_all(data, store, reveal=patients))
    forms = [_form(row, reveal=patients) for row in rows]
    if as_json:
        say_json(forms)
    else:
        _say_alerts(forms)


async def _all(data: Path | None, store: str | None, *, reveal: bool) -> "list[AlertRow]":
    from openscr.identifiers import utc_now
    from openscr.record.reading import list_alerts

    async with opened_store(data, store) as opened:
        return await list_alerts(opened, getuser(), utc_now(), reveal=reveal)


def _say_alerts(forms: list[dict[str, Any]]) -> None:
    if not forms:
        say("there are no alerts")
        return
    say_table(_HEADINGS, [tuple(str(form[name.replace(" ", "_")] or "") for name in _HEADINGS) for form in forms])


def _form(row: "AlertRow", *, reveal: bool) -> dict[str, Any]:
    from openscr.record.audit_forms import masked

    return {
        "id": row.id,
        "raised_at": row.raised_at.isoformat(timespec="seconds"),
        "source": row.source,
        "type": row.type,
        "reason": row.reason,
        "state": row.state,
        "version": row.version,
        "patient": row.nhs_number if reveal else masked(row.nhs_number),
        "system": row.asid,
        "user": row.user_id,
        "role_profile": row.role_profile_id,
        "job_role": row.job_role,
        "organisation": row.organisation,
        # The user's own words may tell what the patient's state was, or who the patient is.
        "text": row.text if reveal else "",
        # So may whatever else its sender filled in, a name or the reference too; codes and ids of systems do not.
        "details": {name: value for name, value in row.details.items() if reveal or name in _OF_NOBODY},
    }


# --- as an officer --------------------------------------------------------------------------------------------------


@commands.command("list", epilog="Example:  openscr admin alerts list --user 555000000402 --state new")
def list_alerts(
    user: Officer = "",
    state: Annotated[
        list[str] | None, typer.Option("--state", metavar="S", help="new, under-investigation or closed; repeatable.")
    ] = None,
    kind: Annotated[list[str] | None, typer.Option("--type", metavar="T", help="1 or 2; repeatable.")] = None,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Raised from a day or an instant on.")] = "",
    until: Annotated[str, typer.Option("--until", metavar="TIME", help="Raised up to the end of a day.")] = "",
    page: Annotated[int, typer.Option("--page", min=1, help="Which page.")] = 1,
    size: Annotated[int, typer.Option("--size", min=1, max=500, help="Alerts on a page.")] = 10,
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Print a page of the alerts that an officer may handle, the newest first; without --user all, the oldest first."""
    if not user:
        if state or kind or since or until:
            raise typer.BadParameter("--state, --type, --since and --until go with --user")
        _print_all(data, store, as_json=as_json, patients=False)
        return
    found = asyncio.run(_search(data, store, user, _wanted(state, kind, since, until, page, size)))
    if not found.outcome.accepted:
        _denied()
    forms = [_form(row, reveal=False) for row in found.alerts]
    if as_json:
        say_json({"alerts": forms, "total": found.total, "unclosed": found.unclosed, "page": page})
        return
    _say_alerts(forms)
    note(f"{found.total} found; {found.unclosed} of your alerts are not closed")


def _wanted(
    state: list[str] | None, kind: list[str] | None, since: str, until: str, page: int, size: int
) -> "AlertSearch":
    from openscr.record.alerts import AlertSearch

    if set(kind or ()) - {"1", "2"}:
        raise typer.BadParameter("a type is 1 or 2")
    states = tuple(_state(each) for each in state or ())
    period = read_time(since), read_time(until, end=True)
    return AlertSearch(states, tuple(kind or ()), *period, page, size)


def _state(text: str) -> "AlertState":
    from openscr.record.alerts import AlertState

    try:
        return AlertState(text)
    except ValueError:
        raise typer.BadParameter(f"a state is one of {', '.join(AlertState)}") from None


@commands.command("show", epilog="Example:  openscr admin alerts show ID --user 555000000402")
def show(
    alert_id: Annotated[str, typer.Argument(metavar="ID", help="The alert, as list prints it.")],
    user: Officer = "",
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Print one alert with its patient, what the user wrote, and every step of its life; the audit then says so."""
    opened = asyncio.run(_open(data, store, _officer(user), alert_id.upper()))
    if opened.alert is None:
        _denied()
    form = _form(opened.alert, reveal=True)
    history = [
        {
            "version": each.version,
            "changed_at": each.changed_at.isoformat(timespec="seconds"),
            "from": each.from_state,
            "to": each.to_state,
            "user": each.user_id,
            "note": each.note,
        }
        for each in opened.changes
    ]
    if as_json:
        say_json({**form, "history": history})
        return
    details = form.pop("details")
    for name, value in (form | details).items():
        if value:
            say(one_line(f"{name.replace('_', ' ')}: {value}"))
    for step in history:
        say(one_line(f"{step['changed_at']}  {step['from']} -> {step['to']}  {step['user']}  {step['note']}"))


@commands.command(
    "change",
    epilog="Example:  openscr admin alerts change ID... --to closed --note 'Patient agreed' --user 555000000402",
)
def change(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The alerts.")],
    to: Annotated[str, typer.Option("--to", metavar="S", help="under-investigation or closed.")],
    text: Annotated[str, typer.Option("--note", metavar="TEXT", help="What was found; required to close.")] = "",
    user: Officer = "",
    version: Annotated[
        int | None, typer.Option("--version", metavar="N", help="The version that you have seen; default the present.")
    ] = None,
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Take alerts to another state; each on its own, and 1 is the exit status when one was not changed."""
    stepped = asyncio.run(
        _change(data, store, _officer(user), [each.upper() for each in ids], _state(to), text, version)
    )
    forms = [
        {"id": each.alert_id, "result": each.result.value, "state": each.alert.state if each.alert else None}
        for each in stepped
    ]
    if as_json:
        say_json(forms)
    else:
        for form in forms:
            say(f"{form['id']}  {form['result']}{'  ' + form['state'] if form['state'] else ''}")
    left = sum(form["result"] != "changed" for form in forms)
    if left:
        fail(f"{left} of {len(forms)} alerts {'was' if left == 1 else 'were'} not changed")


# --- who is told ----------------------------------------------------------------------------------------------------


@commands.command(
    "subscribe", epilog="Example:  openscr admin alerts subscribe --email officer@nhs.test --user 555000000402"
)
def subscribe(
    user: Officer = "",
    email: Annotated[str, typer.Option("--email", metavar="ADDRESS", help="Be told by mail.")] = "",
    webhook: Annotated[str, typer.Option("--webhook", metavar="URL", help="Be told by a signed POST.")] = "",
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Let an officer be told of new alerts, by reference alone. A webhook's secret is printed now and not again."""
    from openscr.record.subscriptions import Channel

    if bool(email) == bool(webhook):
        raise typer.BadParameter("give --email or --webhook")
    channel = Channel.EMAIL if email else Channel.WEBHOOK
    told = asyncio.run(_subscribe(data, store, _officer(user), channel, email or webhook))
    if not told.outcome.accepted:
        _denied()
    (made,) = told.subscriptions
    if as_json:
        say_json({"id": made.id, "secret": made.secret or None})
        return
    say(f"subscribed: {made.id}")
    if made.secret:
        say(f"secret: {made.secret}")


@commands.command("subscriptions", epilog="Example:  openscr admin alerts subscriptions --user 555000000402")
def subscriptions(
    user: Officer = "",
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Print who is told of the alerts of the officer's organisation."""
    told = asyncio.run(_subscriptions(data, store, _officer(user)))
    if not told.outcome.accepted:
        _denied()
    forms = [
        {"id": each.id, "channel": each.kind, "address": each.address, "types": " ".join(each.types)}
        for each in told.subscriptions
    ]
    if as_json:
        say_json(forms)
    elif not forms:
        say("nobody is told")
    else:
        say_table(tuple(forms[0]), [tuple(form.values()) for form in forms])


@commands.command("unsubscribe", epilog="Example:  openscr admin alerts unsubscribe ID --user 555000000402")
def unsubscribe(
    id: Annotated[str, typer.Argument(metavar="ID", help="The subscription.")],
    user: Officer = "",
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Tell nobody at this address any more."""
    if not asyncio.run(_unsubscribe(data, store, _officer(user), id.upper())).outcome.accepted:
        _denied()
    if as_json:
        say_json({"removed": id.upper()})
    else:
        say("unsubscribed")


# --- the verbs, in an officer's name --------------------------------------------------------------------------------


class _Desk:
    """The verbs over one store, and in whose name they are done."""

    def __init__(self, alerts: "Alerts", subscriptions: "Subscriptions", caller: "Caller", ids: "MessageIds") -> None:
        self.alerts = alerts
        self.subscriptions = subscriptions
        self.caller = caller
        self.ids = ids
        # No system has sent this: the one that the policy asks for stands in no audit row.
        self.details = {"operator": getuser(), "asid": "", "party_key": ""}


def _officer(user: str) -> str:
    if not user:
        raise typer.BadParameter("only an officer may do this: name the role profile with --user")
    return user


def _denied() -> NoReturn:
    fail("not permitted: the role, the organisation, or there is no such thing for this officer")


@asynccontextmanager
async def _desk(data: Path | None, store: str | None, user: str, command: str) -> "AsyncIterator[_Desk]":
    from openscr.access.matrix import load_matrix
    from openscr.access.policy import AccessPolicy
    from openscr.directory.form import build_directory
    from openscr.directory.model import CurrentDirectory
    from openscr.identifiers import mint_uuid, utc_now
    from openscr.officers import reachable
    from openscr.record.alerts import Alerts
    from openscr.record.subscriptions import Subscriptions
    from openscr.spine import MessageIds

    settings = read_settings(data, store)
    async with opened_store(data, store) as opened:
        directory = build_directory(await opened.read_directory(), 0)
        current = CurrentDirectory(directory)
        policy = AccessPolicy(matrix=load_matrix(settings.rbac), unknown_author="refuse")
        subscriptions = Subscriptions(opened, current, policy, reachable(settings), clock=utc_now, mint=mint_uuid)
        alerts = Alerts(opened, current, policy, utc_now)
        yield _Desk(alerts, subscriptions, _caller(directory, user), MessageIds("", f"admin alerts {command}"))


def _caller(directory: "Directory", user: str) -> "Caller":
    """Return the officer at a system that acts for the organisation of the role. Raises: `ConfigurationError`."""
    from openscr.spine import Caller, Person

    found = directory.role(user)
    if found is None:
        raise ConfigurationError("--user: the directory knows no such role profile")
    person, role = found
    systems = sorted(directory.systems.values(), key=lambda system: system.asid)
    system = next((each for each in systems if each.enabled and role.ods in each.organisations), None)
    if system is None:
        of_party = (
            each
            for each in systems
            if each.enabled and not each.organisations and directory.parties[each.party_key].ods == role.ods
        )
        system = next(of_party, None)
    if system is None:
        raise ConfigurationError("--user: no system of the directory acts for the organisation of this role")
    return Caller(system.asid, system.party_key, Person(person.user_id, role.role_profile_id, role.job_role))


async def _search(data: Path | None, store: str | None, user: str, wanted: "AlertSearch") -> "AlertPage":
    async with _desk(data, store, user, "list") as desk:
        return await desk.alerts.search(desk.caller, desk.ids, wanted, desk.details)


async def _open(data: Path | None, store: str | None, user: str, alert_id: str) -> "OpenedAlert":
    async with _desk(data, store, user, "show") as desk:
        return await desk.alerts.open(desk.caller, desk.ids, alert_id, desk.details)


async def _change(
    data: Path | None,
    store: str | None,
    user: str,
    ids: list[str],
    to: "AlertState",
    text: str,
    version: int | None,
) -> "tuple[AlertStepped, ...]":
    from openscr.record.alerts import AlertStep, mistakes

    async with _desk(data, store, user, "change") as desk:
        steps: list[AlertStep] = []
        for alert_id in ids:
            seen = version
            if seen is None:
                alert = (await desk.alerts.open(desk.caller, desk.ids, alert_id, desk.details)).alert
                seen = alert.version if alert is not None else 0
            steps.append(AlertStep(alert_id, seen))
        said = mistakes(steps, to, text)
        if said:
            raise typer.BadParameter("; ".join(said))
        return await desk.alerts.change(desk.caller, desk.ids, steps, to, text, desk.details)


async def _subscribe(data: Path | None, store: str | None, user: str, channel: "Channel", address: str) -> "Subscribed":
    async with _desk(data, store, user, "subscribe") as desk:
        fault = desk.subscriptions.reachable.fault(channel, address)
        if fault:
            raise ConfigurationError(fault)
        return await desk.subscriptions.subscribe(desk.caller, desk.ids, channel, address, desk.details)


async def _subscriptions(data: Path | None, store: str | None, user: str) -> "Subscribed":
    async with _desk(data, store, user, "subscriptions") as desk:
        return await desk.subscriptions.list(desk.caller, desk.ids, desk.details)


async def _unsubscribe(data: Path | None, store: str | None, user: str, id: str) -> "Subscribed":
    async with _desk(data, store, user, "unsubscribe") as desk:
        return await desk.subscriptions.remove(desk.caller, desk.ids, id, desk.details)
