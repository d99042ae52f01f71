"""The durable outbox: what must still be sent, sent and re-sent by contract."""
