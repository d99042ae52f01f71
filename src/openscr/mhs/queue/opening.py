"""Which queue a deployment has: ours, a broker's by one of the plug-ins here, or by one that another package brings.

Spec: 50 E3.
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from openscr.errors import ConfigurationError
from openscr.mhs.queue.publisher import Publisher
from openscr.mhs.settings import MhsSettings

EMBEDDED: Final = "embedded"
"""The queue that is a table of the store: nothing is handed on."""

GROUP: Final = "openscr.mhs.queues"
"""Entry points of plug-ins: functions from `MhsSettings` to `Publisher`, named as setting ``queue`` names them."""

BUILT_IN: Final = (
    EntryPoint("amqp10", "openscr.mhs.queue.amqp10:open_amqp10", GROUP),
    EntryPoint("amqp091", "openscr.mhs.queue.amqp091:open_amqp091", GROUP),
    EntryPoint("webhook", "openscr.mhs.queue.webhook:open_webhook", GROUP),
)


def open_queue(settings: MhsSettings) -> Publisher | None:
    """Return what hands messages to the broker that the settings name, none with the embedded queue.

    Nothing is connected yet. Raises: `ConfigurationError`.
    """
    if settings.queue == EMBEDDED:
        return None
    plug_ins = {plug_in.name: plug_in for plug_in in (*entry_points(group=GROUP), *BUILT_IN)}
    plug_in = plug_ins.get(settings.queue)
    if plug_in is None:
        known = ", ".join(sorted([EMBEDDED, *plug_ins]))
        raise ConfigurationError(f"setting queue: there is no queue '{settings.queue}'; there are {known}")
    try:
        opening: Callable[[MhsSettings], Publisher] = plug_in.load()
    except ImportError as error:
        raise ConfigurationError(
            f"setting queue: {settings.queue} needs the package {error.name}; install openscr[{settings.queue}]"
        ) from error
    return opening(settings)
