"""Connections to backends. Knows no client. Start reading with ``pool``, then ``lane`` and ``connection``."""
