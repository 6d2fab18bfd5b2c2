"""Connections of clients. Knows no backend. Start reading with ``channel``, then ``request_parser``."""
