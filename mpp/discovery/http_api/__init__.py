"""A client for HTTP APIs that list backends. Knows no particular API. Read ``json_api`` first."""
