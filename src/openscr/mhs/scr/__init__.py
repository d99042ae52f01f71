"""Summaries as JSON: the adaptor writes the message, sends it and tells what the record said. Spec: 50 §12, C8."""
