"""
The authentication and rate limit of clients' requests by a web configuration.

Kept apart from `mpp.proxy.site.request.ProxyRequest`, so that without a web configuration no request pays for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.core.errors import LoopDetected
from mpp.core.http import headers
from mpp.core.interfaces import IResponse
from mpp.core.model import Headers, RequestInfo
from mpp.core.prometheus import paths
from mpp.core.prometheus.own_requests import check_sender
from mpp.proxy.context import ForwardContext
from mpp.proxy.decisions import local_replies as refusal
from mpp.proxy.decisions.client_address import network_of
from mpp.proxy.site.request import ProxyRequest
from mpp.security.web_config.active_config import ActiveConfig
from mpp.security.web_config.passwords import PasswordCheck, Passwords
from mpp.wire.downstream.channel import ProxyChannel

_log = make_logger()

OPEN_PATHS = frozenset((b"/mpp/health", b"/mpp/ready"))
"""The paths for health checks of Kubernetes and load balancers, which have no password; the response is a single word."""

_CHALLENGE: Headers = ((b"WWW-Authenticate", b'Basic realm="mpp"'),)
_RETRY: Headers = ((b"Retry-After", b"5"),)
_Received = tuple[bytes, bytes, bytes, Headers, bytes]
_Proceed = Callable[[_Received], None]
_Rejection = tuple[int, str, str, Headers]
_TOO_FAST: _Rejection = (429, "unavailable", "more requests than rate_limit allows", _RETRY)
_REFUSALS: dict[PasswordCheck, _Rejection] = {
    PasswordCheck.WRONG: (401, "unauthorized", "a user and a password are required (HTTP basic authentication)", _CHALLENGE),
    PasswordCheck.TOO_MANY_OF_NETWORK: (429, "unavailable", "too many passwords from this network wait to be verified", _RETRY),
    PasswordCheck.TOO_MANY: (503, "unavailable", "too many passwords wait to be verified", _RETRY),
}


class CheckedRequest(ProxyRequest):
    """
    A request that is processed only if the active web configuration permits it, which is decided from its head.

    :param current: the active web configuration.
    :param passwords: verifies the credentials.
    """

    def __init__(self, channel: ProxyChannel, *, current: ActiveConfig, passwords: Passwords) -> None:
        ProxyRequest.__init__(self, channel)
        self._current = current
        self._passwords = passwords
        self._admitted: Headers | None = None  # the header fields, once the request was permitted by its head
        self._disconnected = False
        self.extra = current.config.headers

    def announced(self, method: bytes, target: bytes, version: bytes, fields: Headers) -> None:
        """Check a request as soon as its head has arrived: its body is read only if the head is permitted."""
        self._judge((method, target, version, fields, b""), self._admit)

    def received(self, method: bytes, target: bytes, version: bytes, fields: Headers, body: bytes) -> None:
        """Process a complete request, after a check unless its head was permitted before."""
        if self._admitted is None:
            self._judge((method, target, version, fields, body), self._answer)
        else:
            super().received(method, target, version, self._admitted, body)

    def _judge(self, request: _Received, proceed: _Proceed) -> None:
        users = self._current.config.users
        # The credentials are for mpp, and are not passed on to backends.
        bare = _without_credentials(request) if users else request
        if paths.path_of(request[1]) in OPEN_PATHS:
            proceed(bare)
        elif not self._current.allows():
            self._reject(_TOO_FAST, bare)
        elif not users:
            proceed(bare)
        else:
            self._verify(next(iter(headers.values(request[3], b"authorization")), b""), bare, proceed)

    def _verify(self, authorization: bytes, request: _Received, proceed: _Proceed) -> None:
        user = self._passwords.known(authorization)
        if user is not None:
            self.user = user
            proceed(request)
            return
        # The access log names the claimed user of rejected requests too.
        self.user = self._passwords.named(authorization)
        outcome = self._passwords.verdict(authorization, network_of(self._context.client_address(self._described(request))))
        outcome.addCallback(self._decided, request, proceed)
        outcome.addErrback(self._broken)

    def _decided(self, outcome: PasswordCheck, request: _Received, proceed: _Proceed) -> None:
        if self._disconnected:
            return
        if outcome is PasswordCheck.RIGHT:
            proceed(request)
        else:
            self._reject(_REFUSALS[outcome], request)

    def _answer(self, request: _Received) -> None:
        super().received(*request)

    def _admit(self, request: _Received) -> None:
        self._admitted = request[3]
        self.channel.admit()

    def _reject(self, why: _Rejection, request: _Received) -> None:
        self.info = self._described(request)
        try:
            check_sender(self.info, self._context.instance)
        except LoopDetected:
            # The forwarding loop is the more important error, and explains a missing password or a high rate.
            why = (*refusal.loop_detected(self._context.instance.token)[:3], ())
        status, error_type, message, added = why
        self.extra += added
        self.reject(status, error_type, message)

    @property
    def _context(self) -> ForwardContext:
        context: ForwardContext = self.channel.site.forwarder.context
        return context

    def _described(self, request: _Received) -> RequestInfo:
        method, target, version, fields, body = request
        channel = self.channel
        return RequestInfo(method, target, fields, body, channel.peer, channel.secure, version == b"1.0", self.user)

    def _broken(self, failure: Failure) -> None:
        """Abort the connection after a bug, so that the client does not wait forever."""
        _log.failure(
            "bug: a request failed unexpectedly after the check of its password; its connection is closed", failure=failure
        )
        self.channel.abort()

    def connectionLost(self, reason: Failure) -> None:
        """Record that the client has disconnected."""
        self._disconnected = True
        super().connectionLost(reason)

    # The header fields of every response

    def process(self) -> None:
        """Render an admin page; a header field that the page sets replaces the configured one."""
        for name, value in self.extra:
            self.responseHeaders.setRawHeaders(name, [value])
        super().process()

    def deliver(self, response: IResponse, *delivery: Any, **how: Any) -> None:
        """Send a backend's response; configured header fields replace the backend's."""
        if self.extra:
            ours = {name.lower() for name, _ in self.extra}
            response.headers = tuple(field for field in response.headers if field[0].lower() not in ours)
        super().deliver(response, *delivery, **how)

    def _added(self, *answer: Any) -> Headers:
        return super()._added(*answer) + self.extra


def _without_credentials(request: _Received) -> _Received:
    """Return a request without its ``Authorization`` fields."""
    method, target, version, fields, body = request
    rest = tuple(field for field in fields if len(field[0]) != 13 or field[0].lower() != b"authorization")
    return method, target, version, rest, body
