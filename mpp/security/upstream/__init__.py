"""Credentials for requests to backends. This package knows nothing about clients. Read ``backend_credentials`` first."""
