"""Connections to backends. Knows no client. Begin with ``pool``, then ``lane`` and ``connection``."""
