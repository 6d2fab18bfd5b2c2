"""
HTTP/1.1 in bytes, and TLS. Knows requests and responses, but no Prometheus and no selection. Begin with ``upstream/pool`` and
``downstream/channel``.
"""
