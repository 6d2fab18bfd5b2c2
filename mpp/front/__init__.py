"""What stands between a client and mpp when ``--web-config`` is given: TLS, passwords, a rate limit, security headers."""
