"""Credentials towards servers. Knows no client. Begin with ``backend_credentials``."""
