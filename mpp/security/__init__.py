"""
Credentials for requests to backends, and TLS and authentication of clients. This package wraps requests and connections, and does
not choose backends. Read ``web_config/service`` and ``upstream/backend_credentials`` first.
"""
