"""What the pages for people have in common: the official look, the base template, the static files, the headers."""
