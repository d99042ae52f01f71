"""Live services on a data folder of the test's own."""

from journeys.conftest import data, pki, start

__all__ = ["data", "pki", "start"]
