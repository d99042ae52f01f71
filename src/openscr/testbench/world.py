"""The demo world's directory: its parties, systems, endpoints and people, as a file that `directory import` reads.

Everyone in it is invented. Client callbacks lead to the in-process collector (``inbox:``).

Spec: 00 §5, §6.3; 35 §9.5; 40 DECISION 27, §6.2.
"""

from importlib import resources
from typing import Final

OWN_PARTY: Final = "YES-0000806"
OWN_ASID: Final = "200000000100"
PRACTICE_PARTY: Final = "Y90001-0000001"
HOSPITAL_PARTY: Final = "RZZ01-0000001"
CLIENT_PARTIES: Final = (PRACTICE_PARTY, HOSPITAL_PARTY)
"""The party keys whose messages the demo collects."""


def demo_directory() -> bytes:
    """Return the demo directory in the form ``openscr-directory/1``. Spec: 00 §6.3."""
    return resources.files("openscr.testbench").joinpath("world.json").read_bytes()
