"""Faster forms of Twisted's reactor and transports, which mpp can do without. Knows no HTTP. Start reading with ``switch``."""
