"""A client for HTTP APIs that list backends. Knows no particular API. Begin with ``json_api``."""
