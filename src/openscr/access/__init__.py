"""Who may do what: certificates, registration, authors, roles, one matrix."""
