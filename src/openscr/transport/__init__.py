"""Envelopes, pure: no input or output, no clock, no randomness except as arguments."""
