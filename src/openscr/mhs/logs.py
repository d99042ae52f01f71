"""Logs of the adaptor: JSON lines, or the lines that tools for the NHS adaptor read.

Both have the level ``AUDIT`` between ``INFO`` and ``WARNING``, and the ids of the exchange that is being worked on. As
in the rest of the product no payload is ever handed to a logger, at no level.

Spec: 50 §9, C7; L28.
"""

import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

import structlog

from openscr.logs import configure_logs
from openscr.mhs.settings import MhsSettings
from openscr.setting_sources import InvalidSetting

AUDIT: Final = 25
"""The level of audit lines. Spec: 50 §9."""

NHS_MHS_FORMAT: Final = (
    "[%(asctime)sZ] | %(levelname)s | %(process)d | %(interaction_id)s | %(message_id)s | %(correlation_id)s"
    " | %(inbound_message_id)s | %(name)s | %(message)s"
)
"""The format of a line of the NHS adaptor. Spec: 50 §9."""

_CONTEXT: Final = ("interaction_id", "message_id", "correlation_id", "inbound_message_id")
"""Names of context variables. In inbound ``message_id`` is the RefToMessageId. Spec: 50 §9."""

_ROOM: Final = "mhs."
"""What the names of loggers of the adaptor's rooms begin with; that of a service follows, or of a part of both."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_MARK: Final = "audit"

Component = Literal["outbound", "inbound"]
_COMPONENTS: Final = ("outbound", "inbound")

_log = structlog.get_logger("start")
_audit = structlog.get_logger("audit")


def log_audit(component: Component, text: str) -> None:
    """Log a line at level AUDIT."""
    _audit.info(text, component=component, **{_MARK: True})


def configure_mhs_logs(settings: MhsSettings, component: Component = "outbound", *, text: bool = False) -> None:
    """Set the process's logging up, and log what is to be said of the settings.

    ``component`` is whose lines those are that belong to neither outbound nor inbound. ``text`` makes JSON lines easy
    to read at a terminal. Lines of the NHS adaptor's form go to standard output, where it writes them.
    Raises: `InvalidSetting`: a ``log_format`` that is none.
    """
    # Lines of level AUDIT are made by the rule: what is below it is dropped there.
    level = "INFO" if settings.log_level == "AUDIT" else settings.log_level
    rules = (_audit_only,) if settings.log_level == "AUDIT" else (_audit_level,)
    if settings.log_style == "nhs-mhs":
        try:
            lines = NhsMhsLines(settings.log_format or NHS_MHS_FORMAT, component)
        except ValueError as error:
            raise InvalidSetting("log_format", settings.source("log_format"), str(error)) from None
        configure_logs(level, rules=rules, render=lines, file=sys.stdout.buffer)
    else:
        configure_logs(level, rules=rules, text=text)
    for remark in settings.remarks:
        _log.log(remark.level, remark.text)


def _audit_level(_logger: Any, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if event.pop(_MARK, False):
        event["level"] = _MARK
    return event


def _audit_only(logger: Any, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if _audit_level(logger, name, event)["level"] == "info":
        raise structlog.DropEvent
    return event


class NhsMhsLines:
    """Renders events as lines of the NHS adaptor. Spec: 50 §9.

    Parameters stand behind the text as ``Key=value``, quoted when there is a blank in the value.
    Raises: `ValueError` when ``format`` is no format of a log line.
    """

    def __init__(self, format: str, component: str) -> None:
        self._component = component
        try:
            self._formatter = _Formatter(format)
            self._formatter.format(self._record({"event": "", "level": "info"}, ""))
        except (ValueError, KeyError, TypeError):
            text = "a format is as of Python's logging, of fields such as %(levelname)s and %(message_id)s"
            raise ValueError(text) from None

    def __call__(self, logger: Any, _name: str, event: structlog.typing.EventDict) -> bytes:
        """Return the line of an event."""
        # Libraries log under names of their own, which ours hands on.
        module = event.get("logger") or getattr(logger, "name", None) or "adaptor"
        return self._formatter.format(self._record(event, module)).encode()

    def _record(self, event: Mapping[str, Any], module: str) -> logging.LogRecord:
        module = module.removeprefix(_ROOM)
        component = event.get("component", module if module in _COMPONENTS else self._component)
        level = str(event["level"]).upper()
        number = AUDIT if level == "AUDIT" else logging.getLevelNamesMapping().get(level, logging.INFO)
        fields = {name: value for name, value in event.items() if name not in _OWN and value is not None}
        text = " ".join([str(event["event"]), *(f"{_parameter(name)}={_value(fields[name])}" for name in fields)])
        record = logging.LogRecord(f"{component}.{module}", number, "", 0, _on_one_line(text), None, None)
        record.levelname = level
        for name in _CONTEXT:
            setattr(record, name, _on_one_line(str(event.get(name, ""))))
        return record


_OWN: Final = {"event", "level", "timestamp", "component", "logger", *_CONTEXT}


class _Formatter(logging.Formatter):
    """Writes instants with six decimals, in UTC."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  the base's name
        """Return when the line was logged."""
        return datetime.fromtimestamp(record.created, UTC).strftime(datefmt or "%Y-%m-%dT%H:%M:%S.%f")


def _parameter(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def _value(value: object) -> str:
    text = str(value)
    return f'"{text}"' if " " in text else text


def _on_one_line(text: str) -> str:
    """Write control characters out: no value makes a line of its own."""
    return _CONTROL.sub(lambda found: found.group().encode("unicode_escape").decode(), text)
