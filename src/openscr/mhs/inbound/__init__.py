"""What the Spine posts to us: replies, messages that nobody asked for, signals. Spec: 50 §3."""
