"""FHIR R4 resources as JSON: read within limits, judged, written. Spec: 60, 65."""
