"""How much a process takes on at once, who waits, and who is told to come back later."""
