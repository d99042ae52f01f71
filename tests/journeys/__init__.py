"""Whole journeys through a service that runs as a process of its own: real sockets, real certificates, a real store."""
