"""
Credentials towards servers, and protection towards clients. Wraps requests and upstreams, and decides nothing about backends.
Begin with ``web_config/service`` and ``upstream/backend_credentials``.
"""
