"""Persistence behind one interface."""
