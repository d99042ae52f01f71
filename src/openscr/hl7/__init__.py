"""HL7 V3 messages: bytes to typed values and back, and the rule book."""
