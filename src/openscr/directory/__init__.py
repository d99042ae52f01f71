"""Who is registered: parties, systems, endpoints, contracts, users and roles."""
