"""Code systems of alerts in a test environment: nobody publishes the real ones.

They stand below a UUID under 2.25, where everyone may make an arc of their own without asking.

Spec: 80 §5.2.
"""

from typing import Final

TEST_ARC: Final = "2.25.213461694936005204266485749128845238032"
TYPE_OID: Final = f"{TEST_ARC}.1"
REASON_OID: Final = f"{TEST_ARC}.2"
