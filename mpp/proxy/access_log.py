"""
Writes the access log: one event for each request. What is told of the request itself is known to
`mpp.proxy.decisions.access_fields`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

# Not txaio's: its loggers follow the level, and who asked for the access log wants all of it.
from twisted.logger import Logger, LogLevel

from mpp.proxy.decisions import access_fields as access

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from mpp.core.model import RequestInfo

_log = Logger(namespace=access.COMPONENT)


class AccessLog:
    """
    Where requests are told of when they have ended.

    :param clock: the monotonic one, by which they began.
    :param client_of: tells a client's address.
    """

    def __init__(self, clock: IReactorTime, client_of: Callable[[RequestInfo], str]) -> None:
        self.clock = clock
        self._client_of = client_of

    def log(
        self,
        info: RequestInfo,
        status: int,
        *,
        began: float,
        sent: int,
        backend: str,
        attempts: int = 0,
        reasons: tuple[str, ...] = (),
    ) -> None:
        """
        Tell of one request.

        :param status: what the client got, or would have had it waited.
        :param sent: bytes of the body handed to the client's transport.
        :param backend: who answered.
        :param attempts: how many there were.
        :param reasons: why there were more than one, or none was any good.
        """
        _publish(
            **access.describe(info, self._client_of(info)),
            status=status,
            backend=backend,
            attempts=attempts,
            reason=access.reason_of(reasons),
            duration_s=self.clock.seconds() - began,
            bytes=sent,
        )

    def log_rejected(self, client: str, status: int, why: str) -> None:
        """Tell of what never became a request."""
        _publish(client=client, status=status, backend="mpp", reason=access.reason_of((why,)))


def _publish(**told: object) -> None:
    """Log an event. `Logger.info` does the same, but goes through all levels each time to see whether its own is one of them."""
    _log.observer(
        {
            "log_logger": _log,
            "log_level": LogLevel.info,
            "log_namespace": _log.namespace,
            "log_source": None,
            "log_format": "request",
            "log_time": time.time(),
            **told,
        }
    )
