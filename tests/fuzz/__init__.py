"""Hard input: every reader takes whatever bytes come, and says so in its own errors or not at all."""
