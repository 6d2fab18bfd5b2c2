"""
Every error mpp raises on purpose. Blame and phase are in the type.

::

    MppError
    +-- ConfigError       the operator's input is wrong; the message names the option and what was expected
    |   +-- ConfigErrors      several of them
    +-- DiscoveryError       a locator's source cannot be read; its last good list stays in force
    |   +-- PartlyDiscovered     some of its sources cannot be read; it tells itself what stands
    +-- BadRequest        the client's bytes are not a request we serve; carries the status to answer
    +-- UpstreamError     one attempt on one backend failed; phase and cause are separate axes
    +-- ClientTooSlow     a response is given up because its client reads it more slowly than others, who wait

This module knows no other module of mpp (but for the type of what `PartlyDiscovered` carries).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpp.core.model import DiscoveredBackend


class MppError(Exception):
    """Base of all errors raised by mpp on purpose. Never raised itself."""


class ConfigError(MppError):
    """
    What the operator configured cannot work.

    :param option: the option as the operator wrote it, ``--port`` or ``MPP_PORT``.
    :param problem: what is wrong and what was expected, one line.
    :ivar needs_restart: nothing is wrong, but only a restart can apply it.
    """

    def __init__(self, option: str, problem: str, *, needs_restart: bool = False) -> None:
        super().__init__(f"{option}: {problem}")
        self.option = option
        self.problem = problem
        self.needs_restart = needs_restart

    @property
    def all(self) -> tuple[ConfigError, ...]:
        """Every error there is, one line each."""
        return (self,)


class ConfigErrors(ConfigError):
    """
    Several things are wrong with what the operator configured; as one error, it is the first of them.

    :param errors: at least one, none of them several.
    """

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__(errors[0].option, errors[0].problem)
        self._errors = tuple(errors)

    @property
    def all(self) -> tuple[ConfigError, ...]:
        """All of them, in their order."""
        return self._errors


class DiscoveryError(MppError):
    """A locator's source is gone, unreadable or refused; the message says which and why, one line."""


class PartlyDiscovered(DiscoveryError):
    """
    Some of a locator's sources cannot be read.

    :ivar discovered: what is known nevertheless; stands instead of the locator's last good list.
    """

    def __init__(self, problem: str, located: tuple[DiscoveredBackend, ...]) -> None:
        super().__init__(problem)
        self.discovered = located


class BadRequest(MppError):
    """
    The client sent something that is not answered by a backend.

    :param status: the HTTP status to answer with (400, 408, 413, 417, 431, 501, 503, 505).
    :param detail: one sentence for the client.
    :ivar origin: of the page that made the request, see `mpp.core.prometheus.cors`; empty if that is not known or does not
        matter.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.origin = b""


class LoopDetected(MppError):
    """A request has come back to the mpp that sent it, see Note [Instance] in `mpp.core.instance`."""


class ClientTooSlow(MppError):
    """A response is given up because its client reads it too slowly while other requests wait, see `mpp.wire.upstream.slow`."""


class Phase(enum.Enum):
    """How far an attempt had come when it failed. The value is the word used in logs."""

    CONNECT = "connect"
    """No byte of the request was sent: safe to repeat whatever the method."""
    HEAD = "head"
    """The request was sent (perhaps in part), no complete answer head had arrived."""
    BODY = "body"
    """The answer's head had arrived, its body was not complete."""


class Cause(enum.Enum):
    """What went wrong with an attempt. The value is the ``reason`` label in metrics."""

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
    """So many requests wait for the backend already that no other may."""
    LOCAL = "local"
    """mpp itself ran out of something, such as file descriptors: says nothing about the backend."""
    GARBLED = "garbled"
    """What arrived is not HTTP/1.x."""


class UpstreamError(MppError):
    """
    One attempt on one backend failed.

    :param phase: how far it had come.
    :param cause: what went wrong.
    :param detail: one line for the log.
    :param stale: the connection had been kept alive from an earlier request and ended before any byte of an answer:
        says nothing about the backend, the same request belongs on a fresh connection (RFC 9112 section 9.3.1).
    """

    def __init__(self, phase: Phase, cause: Cause, detail: str = "", *, stale: bool = False) -> None:
        super().__init__(f"{phase.value}: {cause.value}" + (f" ({detail})" if detail else ""))
        self.phase = phase
        self.cause = cause
        self.detail = detail
        self.stale = stale
