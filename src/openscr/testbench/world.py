"""The demo world's directory: its parties, systems, endpoints and people, as a file that `directory import` reads.

Everyone in it is invented. Client callbacks lead to the in-process collector (``inbox:``).

Spec: 00 §5, §6.3; 35 §9.5; 40 DECISION 27, §6.2.
"""

from importlib import resources
from typing import Final

from openscr.directory.demo import HOSPITAL_PARTY, OWN_ASID, OWN_PARTY, PRACTICE_PARTY

__all__ = ["CLIENT_PARTIES", "HOSPITAL_PARTY", "OWN_ASID", "OWN_PARTY", "PRACTICE_PARTY", "demo_directory"]

CLIENT_PARTIES: Final = (PRACTICE_PARTY, HOSPITAL_PARTY)
"""The party keys whose messages the demo collects."""


def demo_directory() -> bytes:
    """Return the demo directory in the form ``openscr-directory/1``. Spec: 00 §6.3."""
    return resources.files("openscr.testbench").joinpath("world.json").read_bytes()
