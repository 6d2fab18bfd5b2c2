"""Faster forms of Twisted's reactor and transports, each with a plain fallback. Knows no HTTP. Start reading with ``switch``."""
