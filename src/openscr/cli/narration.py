"""How the story of a record is told: each step with what was sent, what was answered, and whether that was right.

Spec: 00 §4 ``demo``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from openscr.cli.console import verbose

if TYPE_CHECKING:
    from openscr.client import Exchange


class StoryFailed(Exception):
    """A step did not end as it should; the rest would make no sense."""


class Narration:
    """Tells the steps as they happen. ``forms`` holds them for programs; with ``quiet`` only that."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(quiet=quiet, highlight=False, soft_wrap=True)
        self.forms: list[dict[str, Any]] = []
        self._step: dict[str, Any] = {}

    def remark(self, text: str) -> None:
        """Say something between the steps."""
        self._console.print(Text(text, style="dim"))

    def watch(self, exchange: "Exchange") -> None:
        """Tell of an exchange as it goes over the wire; with ``-v`` in full."""
        action = exchange.headers.get("SOAPAction", "").strip('"').rpartition(":")[2]
        answered = f"HTTP {exchange.status}, {len(exchange.answer):,} bytes" if exchange.status else exchange.problem
        self._line("sent", f"{action}  {len(exchange.request):,} bytes to {exchange.address}")
        if verbose():
            self._raw(exchange.request)
        self._line("answered", answered)
        if verbose():
            self._raw(exchange.answer)
        self._step.setdefault("exchanges", []).append(
            {
                "action": action,
                "address": exchange.address,
                "sent_bytes": len(exchange.request),
                "status": exchange.status,
                "answered_bytes": len(exchange.answer),
            }
        )

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Tell one step. Raises: `StoryFailed` when it ends badly."""
        number = len(self.forms) + 1
        self._step = {"step": number, "title": title, "ok": False}
        self.forms.append(self._step)
        self._console.print()
        self._console.print(Text(f"{number:2}  {title}", style="bold"))
        yield
        if not self._step["ok"]:
            raise StoryFailed

    def outcome(self, text: str, *, good: bool) -> None:
        """Tell how the step ended, and whether that is as it should be."""
        self._step["outcome"] = text
        self._step["ok"] = good
        mark, style = ("✓", "green") if good else ("✗", "bold red")
        self._console.print(Text(f"    {mark} ", style=style).append(text, style="default"))

    def _line(self, label: str, text: str) -> None:
        self._console.print(Text(f"    {label:9} ", style="dim").append(text, style="default"))

    def _raw(self, data: bytes) -> None:
        for line in data.decode("utf-8", "replace").splitlines():
            shown = "".join(c if c.isprintable() else " " for c in line)
            self._console.print(Text(f"              {shown}", style="dim"))

    def passage(self, text: str, lines: int = 12) -> None:
        """Show the beginning of a text that was retrieved."""
        for line in [line for line in text.splitlines() if line.strip()][:lines]:
            self._console.print(Text(f"      │ {line}", style="cyan"))
