"""HTTP/1.1 in bytes, both sides, and the connections below. Knows nothing of Prometheus, selection or retry."""
