"""What goes wrong around the service: receivers that fail, processes that are killed."""
