"""TLS, authentication and rate limit for clients, from a web configuration file. Read ``service`` first."""
