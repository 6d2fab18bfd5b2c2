"""All imports of a simulated server but the reactor's, which belongs to one process; see `tests.integration.forks`."""

import sys

# No simulated server serves TLS, and without it Twisted is imported in less than half of the time.
sys.modules["OpenSSL"] = None  # type: ignore[assignment]

import twisted.internet.default  # noqa: E402, F401

import tests.simulated.__main__  # noqa: E402, F401
