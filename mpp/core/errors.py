"""
The errors that mpp raises on purpose. The type says whose fault the error is.

::

    MppError
    +-- ConfigError       the operator's input is wrong; the message names the option and what was expected
    |   +-- ConfigErrors      several of them
    +-- DiscoveryError       a locator's source cannot be read; its last good list stays active
    |   +-- PartlyDiscovered     some of a locator's sources cannot be read; carries the list to use
    +-- BadRequest        mpp does not serve the client's request; carries the status of the response
    +-- UpstreamError     one attempt on one backend failed; carries phase and cause
    +-- ClientTooSlow     a response is cancelled because its client reads it too slowly while other requests wait

This module imports no other module of mpp, except for the type of the list that `PartlyDiscovered` carries.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpp.core.model import DiscoveredBackend


class MppError(Exception):
    """The base class of all errors that mpp raises on purpose. Never raised itself."""


class ConfigError(MppError):
    """
    An option has a value that cannot work.

    :param option: the option as the operator wrote it, ``--port`` or ``MPP_PORT``.
    :param problem: what is wrong and what was expected, one line.
    :ivar needs_restart: the value is valid, but only a restart can apply it.
    """

    def __init__(self, option: str, problem: str, *, needs_restart: bool = False) -> None:
        super().__init__(f"{option}: {problem}")
        self.option = option
        self.problem = problem
        self.needs_restart = needs_restart

    @property
    def all(self) -> tuple[ConfigError, ...]:
        """The single errors in this one: only itself, unless it is a `ConfigErrors`."""
        return (self,)


class ConfigErrors(ConfigError):
    """
    Several options have values that cannot work; the message is that of the first error.

    :param errors: at least one; none of them is a `ConfigErrors`.
    """

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__(errors[0].option, errors[0].problem)
        self._errors = tuple(errors)

    @property
    def all(self) -> tuple[ConfigError, ...]:
        """The single errors, in the order in which they were given."""
        return self._errors


class DiscoveryError(MppError):
    """A locator cannot read its source; the message names the source and the cause, one line."""


class PartlyDiscovered(DiscoveryError):
    """
    Some of a locator's sources cannot be read.

    :ivar discovered: the backends to use instead of the locator's last good list.
    """

    def __init__(self, problem: str, located: tuple[DiscoveredBackend, ...]) -> None:
        super().__init__(problem)
        self.discovered = located


class BadRequest(MppError):
    """
    The client sent a request that mpp does not forward.

    :param status: the HTTP status of the response (400, 408, 413, 417, 431, 501, 503, 505).
    :param detail: one sentence for the client.
    :ivar origin: the origin of the web page that made the request, see `mpp.core.prometheus.cors`; empty if it is not known or
        not needed.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.origin = b""


class LoopDetected(MppError):
    """A request has come back to the mpp that sent it, see Note [Instance] in `mpp.core.http.instance`."""


class ClientTooSlow(MppError):
    """A response is cancelled because its client reads it too slowly while other requests wait, see `mpp.wire.upstream.slow`."""


class Phase(enum.Enum):
    """The phase in which an attempt failed. The value is the word used in logs."""

    CONNECT = "connect"
    """No byte of the request was sent: safe to repeat whatever the method."""
    HEAD = "head"
    """The request was sent (perhaps in part), but no complete response head had arrived."""
    BODY = "body"
    """The response head had arrived, but its body was not complete."""


class Cause(enum.Enum):
    """The cause of a failed attempt. The value is the ``reason`` label in metrics."""

    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    """No route, network down, host name without any known address."""
    TIMEOUT = "timeout"
    TLS = "tls"
    RESET = "reset"
    """The connection ended uncleanly (RST)."""
    CLOSED = "closed"
    """The connection ended cleanly (FIN), but too early."""
    FULL = "full"
    """The queue of requests that wait for the backend is full."""
    LOCAL = "local"
    """mpp itself ran out of a resource, such as file descriptors or local ports: says nothing about the backend."""
    GARBLED = "garbled"
    """The bytes that arrived are not HTTP/1.x."""


class UpstreamError(MppError):
    """
    One attempt on one backend failed.

    :param phase: how far the attempt had come.
    :param cause: why the attempt failed.
    :param detail: one line for the log.
    :param stale: the connection had been kept alive from an earlier request and ended before any byte of a response.
        This says nothing about the backend; the request should be repeated on a new connection (RFC 9112 section 9.3.1).
    """

    def __init__(self, phase: Phase, cause: Cause, detail: str = "", *, stale: bool = False) -> None:
        super().__init__(f"{phase.value}: {cause.value}" + (f" ({detail})" if detail else ""))
        self.phase = phase
        self.cause = cause
        self.detail = detail
        self.stale = stale
