"""A folder to be uploaded: its summaries, and in a folder of `openscr patients make` what else happened.

A folder is all its files .xml, .json and .toml, in the folders below it too, in the order of their paths. When it has a
file ``actions.jsonl``, that alone says what is sent, and in which order: uploads, withdrawals, consents.

Spec: 00 §4 ``upload``, ``patients make``.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from openscr.cli.bulk import Item
from openscr.cli.upload import LARGEST_FILE, SUMMARIES, send
from openscr.errors import ConfigurationError

if TYPE_CHECKING:
    from openscr.client import Client, Posting
    from openscr.spine import Outcome

ACTIONS: Final = "actions.jsonl"
UNFINISHED: Final = "actions.jsonl.part"
"""The name of the actions while a population is being made."""
ACTIONS_FORMAT: Final = "openscr-actions/1"


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder holds: how many things to be sent, and whether some of them need a person."""

    path: Path
    total: int
    needs_person: bool
    polling: bool = False
    rewrap: bool = False

    def items(self) -> Iterator[Item]:
        """Iterate over what is to be sent, read when its turn comes. Raises: `ConfigurationError`, `OSError`."""
        if (self.path / ACTIONS).is_file():
            yield from self._actions()
            return
        for path in _files(self.path):
            yield self._file(path.relative_to(self.path).as_posix())

    def _actions(self) -> Iterator[Item]:
        with (self.path / ACTIONS).open("rb") as file:
            next(file)
            for number, line in enumerate(file, start=2):
                try:
                    yield self._action(json.loads(line))
                except (ValueError, KeyError, TypeError):
                    raise ConfigurationError(f"{ACTIONS}, line {number}: this is no action") from None

    def _action(self, form: dict[str, Any]) -> Item:
        name, patient, kind = str(form["name"]), str(form["patient"]), form["action"]
        if kind == "upload":
            path = (self.path / name).resolve()
            if not path.is_relative_to(self.path.resolve()):
                raise ValueError("a name leads out of the folder")
            return self._file(name, patient)
        return action_item(form)

    def _file(self, name: str, patient: str = "") -> Item:
        """Return a file as something to be sent; one that cannot be read fails when its turn comes, and alone."""
        try:
            content = _read(self.path / name)
        except (OSError, ConfigurationError) as error:
            return _unreadable(name, patient, error)
        nhs_number, event_id = _identity(content)
        form = {"toml": name.endswith(".toml"), "json": name.endswith(".json")}
        how = {"rewrap": self.rewrap, "polling": self.polling, **form}
        return document_item(name, patient or nhs_number or name, content, nhs_number, event_id, **how)


def document_item(
    name: str,
    patient: str,
    content: bytes,
    nhs_number: str,
    event_id: str,
    *,
    rewrap: bool = False,
    polling: bool = False,
    toml: bool = False,
    json: bool = False,
) -> Item:
    """Return a summary as something to be sent. Number and event id serve to look whether the record has it."""

    def post(client: "Client", posting: "Posting") -> "Outcome | None":
        submission = send(client, content, rewrap=rewrap, polling=polling, toml=toml, json=json, posting=posting)
        return submission.acknowledgement.outcome if submission.acknowledgement is not None else None

    return Item(name, patient, content, post, lambda client: is_stored(client, nhs_number, event_id))


def _unreadable(name: str, patient: str, error: OSError | ConfigurationError) -> Item:
    words = error.diagnostics if isinstance(error, ConfigurationError) else str(error.strerror or error)

    def fail(_client: "Client", _posting: "Posting") -> "Outcome | None":
        raise ConfigurationError(words)

    return Item(name, patient or name, b"", fail, lambda _client: False)


def action_item(form: dict[str, Any]) -> Item:
    """Return a withdrawal or a change of consent as something to be sent. Raises: KeyError, ValueError."""
    from openscr.spine import Consent, EventStatus

    number = str(form["nhs_number"])
    content = json.dumps(form, sort_keys=True).encode()
    if form["action"] == "consent":
        value = Consent(form["value"])

        def set_consent(client: "Client", _posting: "Posting") -> "Outcome | None":
            # Said twice, it is the same: no repetition needs to be known as one.
            return client.set_consent(number, value)

        return Item(form["name"], form["patient"], content, set_consent, lambda _client: False)
    if form["action"] != "withdraw":
        raise ValueError("there are uploads, withdrawals and consents")
    event, event_type, reason = str(form["event_id"]), str(form["event_type"]), str(form["reason"])

    def withdraw(client: "Client", posting: "Posting") -> "Outcome | None":
        submission = client.withdraw(number, event, reason, event_type=event_type, posting=posting)
        return submission.acknowledgement.outcome if submission.acknowledgement is not None else None

    def is_withdrawn(client: "Client") -> bool:
        return is_stored(client, number, event, status=EventStatus.WITHDRAWN)

    return Item(form["name"], form["patient"], content, withdraw, is_withdrawn)


def is_stored(client: "Client", nhs_number: str, event_id: str, *, status: Any = None) -> bool:
    """Whether the record has an event, in a status if one is given."""
    if not nhs_number or not event_id:
        return False
    events = client.list_events(nhs_number).events
    return any(e.event_id.upper() == event_id.upper() and status in (None, e.status) for e in events)


def open_folder(path: Path, *, polling: bool, rewrap: bool) -> Folder:
    """Look at a folder. Raises: `ConfigurationError`, `OSError`."""
    manifest = path / ACTIONS
    if (path / UNFINISHED).exists():
        raise ConfigurationError(f"{path} holds a population that was not made to its end; make it again elsewhere")
    if not manifest.is_file():
        return Folder(path, sum(1 for _ in _files(path)), False, polling, rewrap)
    with manifest.open("rb") as file:
        try:
            known = json.loads(next(file, b"null"))["format"] == ACTIONS_FORMAT
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise ConfigurationError(f"{manifest} does not begin with the format {ACTIONS_FORMAT}")
        total, needs_person = 0, False
        for line in file:
            total += 1
            needs_person = needs_person or b'"action": "upload"' not in line
    return Folder(path, total, needs_person, polling, rewrap)


def _files(path: Path) -> Iterator[Path]:
    return (child for child in sorted(path.rglob("*")) if child.suffix in SUMMARIES and child.is_file())


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise ConfigurationError(f"{path} is larger than a message may be ({LARGEST_FILE} bytes)")
    return data


def _identity(content: bytes) -> tuple[str, str]:
    """Return NHS number and event id of a summary, each empty where it cannot be told; sending says what is wrong."""
    from openscr.errors import WireError
    from openscr.hl7.wrapper import HL7
    from openscr.transport.xml import read_xml

    if content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] != b"<":
        return _identity_of_form(content)
    try:
        root = read_xml(content)
    except WireError:
        return "", ""
    summary = next(root.iter(f"{HL7}GPSummary"), None)
    if summary is None:
        return "", ""
    number = summary.find(f"{HL7}recordTarget//{HL7}id")
    event = summary.find(f"{HL7}id")
    return (
        (number.get("extension") or "") if number is not None else "",
        (event.get("root") or "") if event is not None else "",
    )


def _identity_of_form(content: bytes) -> tuple[str, str]:
    import tomllib

    for read in (json.loads, tomllib.loads):
        try:
            form = read(content.decode("utf-8-sig"))
            return str(form["patient"]["nhs_number"]).replace(" ", ""), str(form.get("event_id") or "")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return "", ""
