"""Delivery: verdicts, the contract walked step by step, bytes that never change."""
