"""The supplier's queue: our own, or a broker's. Spec: 50 §3.4, E3, E4."""
