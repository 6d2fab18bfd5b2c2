"""TLS, users and limits towards clients, from a web configuration file. Knows no backend. Begin with ``service``."""
