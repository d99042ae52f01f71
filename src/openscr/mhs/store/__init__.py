"""What the adaptor keeps: states, messages to be sent, replies, the embedded queue. One interface, several engines."""
