"""Landing page, health, readiness, metrics, demo inbox."""
