"""Certificates for listeners."""

from journeys.conftest import pki

__all__ = ["pki"]
