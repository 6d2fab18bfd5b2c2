"""Connections to backends. Knows no client. Start with ``pool``, then ``lane`` (one server's connections) and ``connection``."""
