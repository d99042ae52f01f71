"""The local identity provider of test environments: sign-in, tokens, smartcard assertions. Spec: 35 §4, §9.5."""
