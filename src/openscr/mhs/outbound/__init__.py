"""The REST face of the adaptor: what a supplier's system posts, asks and is answered. Spec: 50 §1."""
