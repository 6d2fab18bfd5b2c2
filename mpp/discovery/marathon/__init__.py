"""Backends that run in Marathon. Knows no other source. Begin with ``locator``."""
