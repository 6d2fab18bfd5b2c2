"""What a fault is, and whom it strikes. Knows no fault by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field

PROBE_PATHS = frozenset(["/-/ready", "/-/healthy", "/metrics", "/api/v1/status/runtimeinfo", "/api/v1/status/flags"])
"""Paths that a health check asks for, besides the query ``vector(1)``."""
PROBE_QUERIES = frozenset(["vector(1)"])


class ILine(Protocol):
    """What a fault may do with the connection."""

    def send(self, data: bytes) -> None:
        """Send bytes now."""

    def done(self) -> None:
        """End this answer as HTTP demands; the next request may be answered."""

    def close(self) -> None:
        """Send FIN after what was sent."""

    def reset(self) -> None:
        """Send RST, after what was sent had time to leave."""

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call back unless the connection has ended by then."""


class IFault(Protocol):
    """
    Something that goes wrong.

    :ivar strikes: what a share of it is a share of: ``request``, ``connection``, or ``port`` when it concerns the listening
        socket itself (a share makes no sense then).
    """

    @property
    def strikes(self) -> str:
        """``request``, ``connection`` or ``port``."""

    def act(self, line: ILine, head: bytes, body: bytes) -> None:
        """
        Answer one request.

        :param head: status line and headers of the right answer, to the empty line.
        :param body: its body as on the wire.
        """


@define
class Plan:
    """
    A fault, and whom it strikes. Evenly spread, not random: the same requests give the same failures.

    :ivar share: from 0 to 1.
    """

    fault: IFault
    share: float = 1.0
    spare_probes: bool = False
    _credit: float = field(default=0.0, init=False)

    def strikes_now(self) -> bool:
        """Tell whether the next one is struck."""
        self._credit += self.share
        if self._credit < 1.0 - 1e-9:
            return False
        self._credit -= 1.0
        return True


def is_probe(path: str, query: str) -> bool:
    """Tell whether a health check would ask this."""
    return path in PROBE_PATHS or query in PROBE_QUERIES
