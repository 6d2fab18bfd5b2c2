"""The decisions about a request: its backend, its retries and its deadline. Pure. Begin with ``retry_policy``."""
