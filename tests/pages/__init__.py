"""Pages for people, in a real browser where one is needed."""
