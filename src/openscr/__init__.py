"""OpenSCR: a complete Summary Care Record service over HL7 V3, its client library and its tools."""

__version__ = "0.1.0"
