"""The journal of a bulk upload: what was sent under which message id, and what was answered.

Invariant: a message is written down before it is sent. So a run that ends at any moment, however it ends, leaves
nothing unknown but the answers that had not come; those messages are sent once more as the same messages.

A journal is a file of JSON lines. It holds names of files, message ids and codes; no NHS number and nothing clinical.

Spec: 00 §4 ``upload``; 40 §6.3, §6.5.
"""

import fcntl
import json
import os
import threading
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from openscr.errors import ConfigurationError

FILE_NAME: Final = "upload-journal.jsonl"
FORMAT: Final = "openscr-upload-journal/1"


class Fate(StrEnum):
    """What became of something to be sent. `DELIVERED`: acknowledged, with an answer that goes elsewhere."""

    SENDING = "sending"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Note:
    """The newest line about a name. ``digest`` is of the content that was sent; ``code`` says why it was refused."""

    fate: Fate
    message_id: str = ""
    at: str = ""
    digest: str = ""
    retry: bool = False
    code: str = ""


class Journal:
    """What is known of one bulk upload; use it in ``with``. Without a ``path`` it lasts as long as the program.

    ``sender`` is who sends, and where to: a journal belongs to one of these.
    """

    def __init__(self, path: Path | None, sender: str) -> None:
        self._path = path
        self._sender = sender
        self._notes: dict[str, Note] = {}
        self._lock = threading.Lock()
        self._file: int | None = None

    def __enter__(self) -> Self:
        """Read what is known. Raises: `ConfigurationError` for another's journal, or one that is in use; `OSError`."""
        if self._path is None:
            return self
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read(self._path.read_bytes())
        except BlockingIOError:
            self._close()
            raise ConfigurationError(f"another upload keeps its journal in {self._path}") from None
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the file."""
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _read(self, data: bytes) -> None:
        whole = data.rfind(b"\n") + 1
        if whole < len(data) and self._file is not None:
            # The line that was being written when the program ended: what it tells of was not sent yet, or is asked
            # for again.
            os.ftruncate(self._file, whole)
        lines = data[:whole].splitlines()
        if not lines:
            self._write({"format": FORMAT, "sender": self._sender})
            return
        try:
            first, *rest = map(json.loads, lines)
            if first["format"] != FORMAT:
                raise ValueError
            if first["sender"] != self._sender:
                raise ConfigurationError(
                    f"{self._path} is the journal of an upload {first['sender']}, this one is {self._sender}; keep "
                    "another one with --journal FILE"
                )
            for line in rest:
                name, fate = line.pop("name"), Fate(line.pop("fate"))
                self._notes[name] = Note(fate, **line)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConfigurationError(f"{self._path} is not the journal of an upload") from None

    def find(self, name: str) -> Note | None:
        """Return the newest note about a name."""
        return self._notes.get(name)

    def sending(self, name: str, message_id: str, at: datetime, digest: str, *, retry: bool) -> None:
        """Write down that something is about to be sent."""
        self._append(name, Note(Fate.SENDING, message_id, at.isoformat(), digest, retry))

    def ended(self, name: str, fate: Fate, code: str = "") -> None:
        """Write down what was answered."""
        self._append(name, Note(fate, code=code))

    def _append(self, name: str, note: Note) -> None:
        members = ("message_id", "at", "digest", "retry", "code")
        line = {"name": name, "fate": note.fate.value} | {m: v for m in members if (v := getattr(note, m))}
        with self._lock:
            self._notes[name] = note
            self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            os.write(self._file, json.dumps(line).encode() + b"\n")
