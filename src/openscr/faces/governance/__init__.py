"""The governance face: JSON over HTTP for people whom an identity provider vouches for."""
