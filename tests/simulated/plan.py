"""The interface of faults, and the choice of the requests that a fault affects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field

PROBE_PATHS = frozenset(["/-/ready", "/-/healthy", "/metrics", "/api/v1/status/runtimeinfo", "/api/v1/status/flags"])
"""The paths that a health check requests, besides the query ``vector(1)``."""
PROBE_QUERIES = frozenset(["vector(1)"])


class ILine(Protocol):
    """The operations of a fault on the connection."""

    def send(self, data: bytes) -> None:
        """Send bytes to the client now."""

    def done(self) -> None:
        """End this response as HTTP demands, so that the next request can be handled."""

    def close(self) -> None:
        """Send FIN after the bytes that were sent."""

    def reset(self) -> None:
        """Send RST, after a delay for the bytes that were sent."""

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call a function after some seconds, unless the connection has ended by then."""


class IFault(Protocol):
    """
    A way in which a server fails.

    :ivar strikes: the unit that the fault affects: ``request``, ``connection``, or ``port`` for the listening socket itself
        (without a share).
    """

    @property
    def strikes(self) -> str:
        """``request``, ``connection`` or ``port``."""

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """
        Send a wrong response to one request, or none.

        :param head: the status line and header fields of the correct response, with the empty line.
        :param body: the body of the correct response as on the wire.
        """


@define
class Plan:
    """
    A fault, and the share of requests that it affects: evenly spread and not random, so that a test is repeatable.

    :ivar share: the share from 0 to 1.
    :ivar spare_probes: True if requests of health checks are never affected.
    """

    fault: IFault
    share: float = 1.0
    spare_probes: bool = False
    _credit: float = field(default=0.0, init=False)

    def strikes_now(self) -> bool:
        """Return whether the next request or connection is affected."""
        self._credit += self.share
        if self._credit < 1.0 - 1e-9:
            return False
        self._credit -= 1.0
        return True


def is_probe(path: str, query: str) -> bool:
    """Return whether a path and query are the ones of a health check."""
    return path in PROBE_PATHS or query in PROBE_QUERIES
