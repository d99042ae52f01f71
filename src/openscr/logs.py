"""Logs: one JSON object a line on standard error, without patient data.

What is logged is chosen field by field: ids of messages, interactions, codes, parties, durations. Payloads, NHS
numbers, names and free text of messages are never handed to a logger.

Spec: 00 §7.
"""

import logging
import sys
from collections.abc import Sequence
from types import NoneType
from typing import Any, BinaryIO, Final

import msgspec
import structlog

_ENCODER = msgspec.json.Encoder()


def _render_json(_logger: Any, _name: str, event: structlog.typing.EventDict) -> bytes:
    return _ENCODER.encode({key: _plain(value) for key, value in event.items()})


_PLAIN: Final = (str, int, float, bool, NoneType)
"""Built once: every field of every line is asked whether it is one of them."""


def _plain(value: object) -> object:
    return value if isinstance(value, _PLAIN) else str(value)


class _Forward(logging.Handler):
    """Hands records of the standard library's loggers to ours, message only: never their arguments' objects."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one foreign record under its logger's name."""
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[0] is not None:
            fields["error"] = record.exc_info[0].__name__
        structlog.get_logger().log(record.levelno, record.getMessage(), **fields)


def configure_logs(
    level: str = "info",
    *,
    text: bool = False,
    rules: Sequence[structlog.typing.Processor] = (),
    render: structlog.typing.Processor = _render_json,
    file: BinaryIO | None = None,
) -> None:
    """Set the process's logging up once. ``level`` is a name such as ``info``; ``text`` is for people at a terminal.

    ``rules`` are applied to each event before it is rendered. ``render`` makes bytes of an event; they are written to
    ``file``, by default standard error.
    """
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *rules,
    ]
    if text:
        structlog.configure(
            processors=[*shared, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())],
            wrapper_class=structlog.make_filtering_bound_logger(number),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
            cache_logger_on_first_use=True,
        )
    else:
        structlog.configure(
            processors=[*shared, render],
            wrapper_class=structlog.make_filtering_bound_logger(number),
            logger_factory=structlog.BytesLoggerFactory(file or sys.stderr.buffer),
            cache_logger_on_first_use=True,
        )
    root = logging.getLogger()
    root.handlers = [_Forward()]
    root.setLevel(max(number, logging.WARNING))


def configure_command_logs() -> None:
    """Have what is logged while a command runs told on standard error, from warnings on, in words for people.

    Standard output is for the answer of a command alone: a program reads it. Spec: 00 §4.
    """
    structlog.configure(
        processors=[
            _drop_minor,
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0),
        ],
        logger_factory=_to_standard_error,
    )


_MINOR: Final = frozenset({"debug", "info"})


def _drop_minor(_logger: Any, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if name in _MINOR:
        raise structlog.DropEvent
    return event


def _to_standard_error(*_: Any) -> structlog.PrintLogger:
    # The stream of this moment: a progress bar may stand in front of it.
    return structlog.PrintLogger(sys.stderr)
