"""What identifies a patient, a message, a machine. Spec: 10 §6, 00 §3."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscr.identifiers import is_loopback


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "127.1.2.3", "::1"])
def test_this_machine_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["127.x.example", "127.0.0.1.example", "127.", "127", "0.0.0.0", "::", "10.0.0.1", "localhost.example", ""],  # noqa: S104  not to bind to
)
def test_what_may_lead_elsewhere_is_not(host: str) -> None:
    """A name may begin like an address of this machine and still be anybody's."""
    assert not is_loopback(host)


@given(st.text(max_size=20))
def test_any_text_is_loopback_or_not(host: str) -> None:
    assert is_loopback(host) in (True, False)
