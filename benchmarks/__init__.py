"""What a message costs: measurements, never assertions. Run them with `make bench`. Spec: 90 §6.4."""
