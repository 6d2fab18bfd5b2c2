"""Connections of clients. Knows no backend. Begin with ``channel``, then ``request_parser``."""
