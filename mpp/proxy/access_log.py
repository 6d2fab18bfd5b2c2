"""
Writes the access log, one event for each request. `mpp.proxy.decisions.access_fields` describes the request itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

# Not txaio's logger, which follows the log level: the access log is written at any level.
from twisted.logger import Logger, LogLevel

from mpp.core.model import RequestInfo
from mpp.proxy.decisions import access_fields as access

_log = Logger(namespace=access.COMPONENT)


@frozen
class AccessLog:
    """
    The access log, which gets each request when it has ended.

    :param clock: the monotonic clock by which requests began.
    :param client_of: returns the address of a request's client.
    """

    _clock: IReactorTime
    _client_of: Callable[[RequestInfo], str]

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
        cache: str = "",
    ) -> None:
        """
        Log a request that has ended.

        :param status: the status of the response; 499 if the client disconnected before there was one.
        :param began: when the request was complete, by the monotonic clock.
        :param sent: the number of body bytes that were written to the client's transport.
        :param backend: the name of the backend that responded, or ``mpp`` if mpp replied itself.
        :param attempts: the number of attempts on backends.
        :param reasons: why attempts failed, and why the request ended without a complete response.
        :param cache: how the cache was used (``hit``, ``partial``, ``miss`` or ``bypass``), or ``shared`` if an identical request
            has fetched the response; else empty.
        """
        _publish(
            **access.describe(info, self._client_of(info)),
            status=status,
            backend=backend,
            attempts=attempts,
            cache=cache,
            reason=access.reason_of(reasons),
            duration_s=self._clock.seconds() - began,
            bytes=sent,
        )

    def log_rejected(self, client: str, status: int, why: str) -> None:
        """Log that bytes of a client were rejected, because they are no valid HTTP request or too large."""
        _publish(client=client, status=status, backend="mpp", reason=access.reason_of((why,)))


def _publish(**fields: object) -> None:
    """Publish one log event, as `Logger.info` does, which takes longer because it compares its level with all levels."""
    _log.observer(
        {
            "log_logger": _log,
            "log_level": LogLevel.info,
            "log_namespace": _log.namespace,
            "log_source": None,
            "log_format": "request",
            "log_time": time.time(),
            **fields,
        }
    )
