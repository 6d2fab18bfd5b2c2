"""Sockets that are listened on. Knows no request. Begin with ``listeners``."""
