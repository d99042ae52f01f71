"""`openscr upload`: send summaries, and say what the record answered.

Spec: 00 §4 ``upload``; 10 §2, §13, §16; 40 §7.3.
"""

import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openscr.cli.console import detail, note, on_terminal, readable_name, say, say_json
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
    User,
    Verbose,
    connect,
)
from openscr.cli.outcomes import refusal_line, submission_form
from openscr.errors import OpenSCRError, UnreadableMessage

if TYPE_CHECKING:
    from openscr.client import Client, Posting, Submission


class Pattern(StrEnum):
    """The channel that an upload takes. Spec: 00 §4, 40 §7.3, §7.6."""

    RELIABLE = "reliable"
    POLLING = "polling"


class Before(StrEnum):
    """How closely a file is looked at before it is sent. Spec: 10 §11.5, §16."""

    STRICT = "strict"
    SPINE = "spine"
    NONE = "none"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("upload", epilog="Example:  openscr upload summary.xml --user 555000000102")(upload)


def upload(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="HL7 V3 XML, JSON or TOML; - is stdin; a folder: see above."),
    ],
    at: At = DEMO,
    app: As = "app-gp",
    directory: DirectoryFile = None,
    user: User = None,
    cert: Cert = None,
    key: Key = None,
    ca: Ca = None,
    callback: CallbackAt = None,
    pattern: Annotated[Pattern, typer.Option("--pattern", help="The channel: reliable messaging, or polling.")] = (
        Pattern.RELIABLE
    ),
    check: Annotated[
        Before,
        typer.Option("--check", help="How closely to look before sending: strict, spine, or none."),
    ] = Before.STRICT,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", min=0.001, help="Of a folder: so many messages a second.")
    ] = None,
    parallel: Annotated[
        int, typer.Option("--parallel", metavar="N", min=1, max=64, help="Of a folder: so many connections at once.")
    ] = 1,
    journal: Annotated[
        Path | None,
        typer.Option("--journal", metavar="FILE", help="Of a folder: what was sent; default in the folder."),
    ] = None,
    retry_refused: Annotated[
        bool, typer.Option("--retry-refused", help="Of a folder: send again what was refused before.")
    ] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Send GP Summaries and print what the record says of each.

    A summary in JSON (openscr-summary/1) or TOML is composed: ids, text and message are written for you. A complete
    interaction from the sending app goes byte for byte. Otherwise, and with --user, the GPSummary in it is taken out as
    it is and sent in a message of our own; so is a file that holds the GPSummary alone. With --pattern polling the
    answer is fetched from the service, and no acknowledgement has to find its way to us.

    What has faults is not sent: --check strict, unless said otherwise, looks at the whole form of the message as
    validate --level strict does, --check spine at the rules that the record itself refuses by, --check none at nothing.

    A folder is all its .xml, .json and .toml files, also of the folders in it, in the order of their paths; or what the
    actions.jsonl in it says, as patients make writes it. It is sent at --rate, --parallel patients at once, the files
    of one patient in their order. A journal (upload-journal.jsonl) keeps what was answered: run the same command again
    after an interruption, and it goes on where it was; what had no answer yet goes again as the same message.
    """
    if "" in files:
        raise typer.BadParameter("a file has a name; this one is empty", param_hint="FILE...")
    folder = Path(files[0]) if len(files) == 1 and files[0] != "-" and Path(files[0]).is_dir() else None
    if folder is None and (rate is not None or parallel > 1 or journal is not None or retry_refused):
        raise typer.BadParameter("--rate, --parallel, --journal and --retry-refused are for one folder")
    sender: dict[str, Any] = {"at": at, "app": app, "directory": directory, "user": user}
    files_of_tls: dict[str, Any] = {"cert": cert, "key": key, "ca": ca, "callback": callback, "check": check.value}
    if folder is not None:
        how = {"polling": pattern is Pattern.POLLING, "rewrap": user is not None}
        bulk = {"rate": rate, "parallel": parallel, "retry_refused": retry_refused, "as_json": as_json}
        _upload_folder(folder, journal, sender, files_of_tls, how, bulk)
        return
    inputs = list(_inputs(files))
    if not inputs:
        raise typer.BadParameter("there are no .xml, .json or .toml files there", param_hint="FILE...")
    failed = unreached = 0
    with connect(**sender, **files_of_tls) as client:
        for index, (given, path) in enumerate(_watched(inputs), start=1):
            name = readable_name(given)
            try:
                data = _read(path)
                submission = send(
                    client,
                    data,
                    rewrap=user is not None,
                    polling=pattern is Pattern.POLLING,
                    toml=path is not None and path.suffix == ".toml",
                    json=path is not None and path.suffix == ".json",
                )
            except (OpenSCRError, OSError) as error:
                failed += 1
                _tell_failure(name, error, as_json=as_json)
                unreached = unreached + 1 if isinstance(error, OpenSCRError) and error.code in UNREACHED else 0
                if unreached == PATIENCE and index < len(inputs):
                    note(
                        f"openscr: the service was not reached {PATIENCE} times running: {len(inputs) - index} not sent"
                    )
                    break
                continue
            unreached = 0
            failed += submission.accepted is False
            _tell(name, submission, as_json=as_json)
    if failed and len(inputs) > 1:
        note(f"openscr: {failed} of {len(inputs)} not accepted")
    if failed:
        raise typer.Exit(1)


def _upload_folder(
    path: Path,
    journal: Path | None,
    sender: dict[str, Any],
    files_of_tls: dict[str, Any],
    how: dict[str, bool],
    bulk: dict[str, Any],
) -> None:
    from openscr.cli.bulk import Bulk, Pace, report
    from openscr.cli.upload_folder import open_folder
    from openscr.cli.upload_journal import FILE_NAME, Journal

    folder = open_folder(path, **how)
    if not folder.total:
        raise typer.BadParameter("there are no .xml, .json or .toml files there", param_hint="FILE...")
    if folder.needs_person and sender["user"] is None:
        raise typer.BadParameter("the folder holds withdrawals or consents, which a person sends: --user URP")
    who = f"to {sender['at']} as {sender['app']}" + (f" with {sender['user']}" if sender["user"] else "")
    rate = bulk.pop("rate")
    with (
        Journal(journal or path / FILE_NAME, who) as kept,
        connect(**sender, **files_of_tls) as client,
    ):
        tally = Bulk(client, kept, Pace(rate), **bulk).run(folder.items(), folder.total)
    report(tally, as_json=bulk["as_json"], resume="run the same command again to go on")
    if tally.failed:
        raise typer.Exit(1)


SUMMARIES = frozenset({".xml", ".json", ".toml"})
LARGEST_FILE = 5_242_880
"""Bytes of a message that any Spine takes at most. Spec: 40 §6.6."""
UNREACHED = frozenset({"NO_ANSWER", "RETRIES_EXHAUSTED", "CERTIFICATE_REFUSED"})
"""Codes of the errors that say that nobody there has taken the message."""
PATIENCE = 3
"""Files that are tried one after the other while the service cannot be reached; each may take its whole contract."""


def _read(path: Path | None) -> bytes:
    """Read a file, or standard input, no further than a message may go. Raises: `ConfigurationError`, `OSError`."""
    from openscr.errors import ConfigurationError

    if path is not None and path.exists() and not path.is_file():
        raise ConfigurationError("not a regular file")
    if path is None:
        if sys.stdin is None:
            raise ConfigurationError("it is closed")
        data = sys.stdin.buffer.read(LARGEST_FILE + 1)
    else:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise ConfigurationError(f"larger than a message may be ({LARGEST_FILE} bytes)")
    return data


def _inputs(files: Iterable[str]) -> Iterator[tuple[str, Path | None]]:
    for name in files:
        path = Path(name)
        if name == "-":
            yield "standard input", None
        elif path.is_dir():
            yield from ((str(child), child) for child in sorted(path.iterdir()) if child.suffix in SUMMARIES)
        else:
            yield name, path


def _watched(inputs: list[tuple[str, Path | None]]) -> Iterable[tuple[str, Path | None]]:
    """Show progress to people who wait for many files; their results are lines above it."""
    if len(inputs) < 2 or not on_terminal():
        return inputs
    from rich.progress import track

    return track(inputs, description="Sending", transient=True)


def send(
    client: "Client",
    data: bytes,
    *,
    rewrap: bool,
    polling: bool = False,
    toml: bool = False,
    json: bool = False,
    posting: "Posting | None" = None,
) -> "Submission":
    """Send what a file holds: as it is when it is a message of the sending app and ``rewrap`` does not forbid that.

    A summary in the JSON form, or with ``toml`` in TOML, is composed and goes in a message of our own. JSON is known by
    its first character; with ``json`` the file is said to be that, whatever it holds.

    The polling channel has a name of its own for what is otherwise an ordinary upload: a message of the other channel
    goes in one of our own.

    Raises: `UnreadableMessage` when the file holds no summary, `UnsafeXml`, `MistakenForm`, `UnwritableSummary`, and
    what sending raises.
    """
    if toml or json or data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"["):
        return _compose_and_send(client, data, polling=polling, toml=toml, posting=posting)
    from openscr.codes import INITIAL_UPLOAD, POLLING_UPLOAD, UPLOAD, UPLOADS
    from openscr.hl7.gp_summary import locate_document
    from openscr.hl7.wrapper import HL7, local_name, read_wrapper
    from openscr.transport.xml import read_xml

    root = read_xml(data)
    name = local_name(root)
    if name == "GPSummary":
        return client.upload_document(data, polling=polling, posting=posting)
    if name not in UPLOADS:
        raise UnreadableMessage(f"this is neither {INITIAL_UPLOAD}, {UPLOAD} nor a GPSummary")
    profile = client.spine.profile
    if read_wrapper(root).sender_asid == profile.asid and not rewrap and polling == (name == POLLING_UPLOAD):
        detail(f"  {name} goes byte for byte")
        return client.submit(data, posting=posting)
    document = root.find(f"{HL7}ControlActEvent/{HL7}subject/{HL7}GPSummary")
    if document is None:
        raise UnreadableMessage(f"the {name} holds no GPSummary")
    detail(f"  the GPSummary of {name} goes in a message of our own")
    return client.upload_document(locate_document(document, data).standalone(), polling=polling, posting=posting)


def _compose_and_send(
    client: "Client", data: bytes, *, polling: bool, toml: bool, posting: "Posting | None"
) -> "Submission":
    """Send a summary in the JSON form, or the same members in TOML. Spec: 00 §6.2."""
    from openscr.clinical import read_json, read_toml

    summary = read_toml(data) if toml else read_json(data)
    detail(f"  {summary.interaction} is composed from the {'TOML' if toml else 'JSON'} form")
    return client.upload(summary, polling=polling, posting=posting)


def _tell(name: str, submission: "Submission", *, as_json: bool) -> None:
    if as_json:
        say_json({"input": name, **submission_form(submission)})
    acknowledgement = submission.acknowledgement
    if acknowledgement is None:
        if not as_json:
            say(f"{name}: delivered; the application acknowledgement goes to the registered endpoint (--callback)")
    elif not acknowledgement.outcome.accepted:
        note(f"openscr: {name}: {refusal_line(acknowledgement.outcome)}")
    elif not as_json:
        say(f"{name}: AA {acknowledgement.detail}".rstrip())


def _tell_failure(name: str, error: OpenSCRError | OSError, *, as_json: bool) -> None:
    text = error.diagnostics if isinstance(error, OpenSCRError) else str(error.strerror or error)
    code = error.code if isinstance(error, OpenSCRError) else "FILE"
    if as_json:
        say_json({"input": name, "delivered": False, "error": {"code": code, "text": text}})
    note(f"openscr: {name}: {text}")
