"""The heart: what the service does, free of transport. It reads like the guidance it implements."""
