"""
A client's request behind a web configuration: refused, or answered like any other one.

Kept apart from `mpp.proxy.site.resource.ProxyRequest`, so that without a web configuration no request pays for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure
from txaio.tx import make_logger

from mpp.core import headers
from mpp.core.errors import LoopDetected
from mpp.core.instance import Instance
from mpp.core.interfaces import IResponse
from mpp.core.model import Backend, Headers, RequestInfo
from mpp.core.prometheus import paths
from mpp.core.prometheus.own_requests import check_sender
from mpp.proxy import local_replies as refusal
from mpp.proxy.decisions.client_address import network_of
from mpp.proxy.site.resource import ProxyRequest
from mpp.security.web_config.active_config import ActiveConfig
from mpp.security.web_config.passwords import PasswordCheck, Passwords
from mpp.wire.downstream.channel import ProxyChannel

_log = make_logger()

OPEN_PATHS = frozenset((b"/mpp/health", b"/mpp/ready"))
"""For probes of Kubernetes and load balancers, which have no password and are not to be limited; they tell one word."""

_CHALLENGE: Headers = ((b"WWW-Authenticate", b'Basic realm="mpp"'),)
_RETRY: Headers = ((b"Retry-After", b"5"),)
_Received = tuple[bytes, bytes, bytes, Headers, bytes]
_Proceed = Callable[[_Received], None]
_Rejection = tuple[int, str, str, Headers]
_TOO_FAST: _Rejection = (429, "unavailable", "more requests than rate_limit allows", _RETRY)
_REFUSALS: dict[PasswordCheck, _Rejection] = {
    PasswordCheck.WRONG: (401, "unauthorized", "user and password are expected (HTTP basic authentication)", _CHALLENGE),
    PasswordCheck.TOO_MANY_OF_NETWORK: (429, "unavailable", "too many passwords from this network wait to be verified", _RETRY),
    PasswordCheck.TOO_MANY: (503, "unavailable", "too many passwords wait to be verified", _RETRY),
}


class CheckedRequest(ProxyRequest):
    """
    One request that is let through if the web configuration in force allows it: by its head alone when that comes first.

    :param current: what is in force.
    :param client_address: returns the client's address, as the access log has it.
    :param rejected: counts a refusal by its status.
    :param instance: this mpp, as it recognizes its own requests.
    """

    def __init__(
        self,
        channel: ProxyChannel,
        *,
        current: ActiveConfig,
        passwords: Passwords,
        client_address: Callable[[RequestInfo], str],
        refused: Callable[[int], None],
        instance: Instance,
    ) -> None:
        ProxyRequest.__init__(self, channel)
        self._current = current
        self._passwords = passwords
        self._client_address = client_address
        self._rejected = refused
        self._instance = instance
        self._admitted: Headers | None = None  # the fields, when it was let through by its head
        self._disconnected = False
        self.extra = current.config.headers

    def announced(self, method: bytes, target: bytes, version: bytes, fields: Headers) -> None:
        """Let the request's body be read, perhaps when its password is verified, or answer at once."""
        self._judge((method, target, version, fields, b""), self._admit)

    def received(self, method: bytes, target: bytes, version: bytes, fields: Headers, body: bytes) -> None:
        """Answer the request, perhaps when its password is verified."""
        if self._admitted is None:
            self._judge((method, target, version, fields, body), self._answer)
        else:
            super().received(method, target, version, self._admitted, body)

    def _judge(self, request: _Received, proceed: _Proceed) -> None:
        users = self._current.config.users
        # The credentials are for us: the backends get none.
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
        # The log tells of those who are refused, too, who they say they are.
        self.user = self._passwords.named(authorization)
        outcome = self._passwords.verdict(authorization, network_of(self._client_address(self._described(request))))
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
            check_sender(self.info, self._instance)
        except LoopDetected:
            # It has no password, or comes too often, but it is more important to say whose it is.
            why = (*refusal.loop_detected(self._instance.token)[:3], ())
        status, error_type, message, added = why
        self.extra += added
        self._rejected(status)
        self.reject(status, error_type, message, self.channel.site.access())

    def _described(self, request: _Received) -> RequestInfo:
        method, target, version, fields, body = request
        channel = self.channel
        return RequestInfo(method, target, fields, body, channel.peer, channel.secure, version == b"1.0", self.user)

    def _broken(self, failure: Failure) -> None:
        """End on a bug, which must not leave the client hanging."""
        _log.failure("a request failed after its password was verified", failure=failure)
        self.channel.abort()

    def connectionLost(self, reason: Failure) -> None:
        """Take note that the client has gone."""
        self._disconnected = True
        super().connectionLost(reason)

    # What every answer gets

    def process(self) -> None:
        """Render an own page; a field that it sets itself is its own."""
        for name, value in self.extra:
            self.responseHeaders.setRawHeaders(name, [value])
        super().process()

    def deliver(self, response: IResponse, *delivery: Any, **how: Any) -> None:
        """Send a backend's answer; the configured fields are there instead of the backend's."""
        if self.extra:
            ours = {name.lower() for name, _ in self.extra}
            response.headers = tuple(field for field in response.headers if field[0].lower() not in ours)
        super().deliver(response, *delivery, **how)

    def _added(self, served_by: Backend, cookies: tuple[bytes, ...], attempts: int, timing: bytes) -> Headers:
        return super()._added(served_by, cookies, attempts, timing) + self.extra


def _without_credentials(request: _Received) -> _Received:
    """Give a request without its ``Authorization``."""
    method, target, version, fields, body = request
    rest = tuple(field for field in fields if len(field[0]) != 13 or field[0].lower() != b"authorization")
    return method, target, version, rest, body
