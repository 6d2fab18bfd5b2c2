"""
HTTP/1.1 in bytes, and TLS. Knows requests and responses, but neither Prometheus nor the selection of backends. Start reading with
``upstream/pool`` and ``downstream/channel``.
"""
