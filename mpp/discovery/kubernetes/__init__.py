"""Backends that run in Kubernetes. Knows no other source. Begin with ``locator``."""
