"""The Spine paths: SOAP and ebXML endpoints."""
