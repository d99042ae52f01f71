"""Who is registered in the demo world, by id: the constants that its directory file, samples and clients agree on.

The file itself is `openscr.testbench`'s; that it says the same is held by tests.

Spec: 00 §5; 35 §9.5; 40 DECISION 27, §6.2.
"""

from typing import Final

OWN_PARTY: Final = "YES-0000806"
OWN_ASID: Final = "200000000100"
PRACTICE_PARTY: Final = "Y90001-0000001"
HOSPITAL_PARTY: Final = "RZZ01-0000001"

GP_ASID: Final = "200000000115"
APPS: Final = {
    "app-gp": (GP_ASID, PRACTICE_PARTY),
    "app-viewer": ("200000000116", HOSPITAL_PARTY),
    "app-batch": ("200000000117", PRACTICE_PARTY),
}
"""ASID and party key of the client systems, by app."""

GP_USER: Final = "555000000101"
GP_ROLE_PROFILE: Final = "555000000102"
GP_NAME: Final = "Dr Gita Demopractice"
PRACTICE_ODS: Final = "Y90001"
PRACTICE_NAME: Final = "Demo Practice"
SYSTEM_NAMES: Final = {
    "app-gp": "Demo GP system",
    "app-viewer": "Demo viewing system",
    "app-batch": "Demo batch system",
}
"""What an alert says of the user and the system."""

RELIABLE_PATH: Final = "/reliablemessaging/reliablerequest"
PSIS_CPA: Final = "S20001A000182"
ALERTS_CPA: Final = "S20005A000506"
"""Where uploads, withdrawals and alerts go, and the agreements that they name."""

QUERY_PATH: Final = "/reliablemessaging/queryrequest"
QUERY_CPA: Final = "S20003A000304"
"""Where express queries go, and the agreement that they name."""
