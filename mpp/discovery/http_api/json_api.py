"""
A client for JSON over HTTP, as locators need it. Knows HTTP; knows no particular API. treq sends the requests, over connections
of `mpp.discovery.http_api.client`; `mpp.core.urls` parses URLs.

Every failure is a `DiscoveryError` of one line that names the URL without user, password and query, which may be secrets.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from mpp.core.errors import DiscoveryError
from mpp.core.model import MIB
from mpp.core.urls import origin, redirected, shown
from mpp.discovery.http_api.client import BodyCollector, TrackedConnections, explain, is_cancelled
from mpp.discovery.http_api.content import ACCEPTED, decode
from mpp.discovery.http_api.treq_client import CODING, LiteralURL, treq_client
from mpp.wire.tls import TLSPolicy

# As long as a whole look-up may take (`mpp.discovery.merged`), which runs beside the rounds, so that a slow source works.
TIMEOUT_S = 60.0
# For each attempt to connect: long enough for one lost SYN (repeated after 1 s), and short enough for another server to be tried
# before a round stops waiting for the look-up (3 s).
_CONNECT_TIMEOUT_S = 1.5
# The list of all pods of a large cluster is some ten MiB.
MAX_BYTES = 32 * MIB
# The maximum of Prometheus (Go's net/http).
_MAX_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
# The keys of error messages in responses: of Marathon and Kubernetes, DC/OS, others.
_WORDS = ("message", "description", "title", "error")
_MAX_WORDS = 300


class NoResponse(DiscoveryError):
    """The server did not respond, or not completely; another server of the same API may respond."""


@frozen
class APIResponse:
    """
    The response of an API server.

    :ivar url: the requested URL, without secrets.
    :ivar headers: by lower-case name; repeated ones joined by commas.
    :ivar hide: secrets that `error_text` removes from the server's message.
    """

    url: str
    status: int
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    hide: tuple[str, ...] = field(default=(), repr=False)

    def json(self) -> Any:
        """
        Parse the body, whatever its Content-Type.

        :raise DiscoveryError: it is no JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise DiscoveryError(f"{self.url}: the response is not JSON") from None

    def error_text(self) -> str:
        """Return the server's own error message as one short line; empty if the body is neither JSON with one nor plain text."""
        line = _said(self.body, self.headers.get("content-type", ""))
        for secret in self.hide:
            line = line.replace(secret, "...")
        return " ".join("".join(c if c.isprintable() else " " for c in line).split())[:_MAX_WORDS]

    def rejected(self, what: str = "") -> DiscoveryError:
        """
        Return an error that reports this response as unexpected.

        :param what: the beginning of the message instead of the URL.
        """
        return DiscoveryError(": ".join(filter(None, (what or self.url, f"status {self.status}", self.error_text()))))


class JSONClient:
    """
    A client for JSON over HTTP.

    :param agent: sends the requests, see `JSONClient.connecting`; `treq.testing.RequestTraversalAgent` in tests.
    :param clock: measures the time limits.
    :param fields: header fields of every request; a name may occur several times.
    """

    def __init__(
        self,
        agent: IAgent,
        clock: IReactorTime,
        connections: TrackedConnections | None = None,
        fields: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._treq = treq_client(agent)
        self._clock: Any = clock
        self._connections = connections
        self._fields = tuple(fields)

    @classmethod
    def connecting(cls, reactor: Any, policy: TLSPolicy, fields: Sequence[tuple[str, str]] = ()) -> JSONClient:
        """Return a client that opens connections, and keeps a few of them open for further requests."""
        connections = TrackedConnections(reactor, policy, _CONNECT_TIMEOUT_S)
        return cls(connections.agent, reactor, connections, fields)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        timeout: float = TIMEOUT_S,
        hide: Sequence[str] = (),
    ) -> APIResponse:
        """
        Send a request and read the whole response, whatever its status. Redirects of GET are followed, to another origin without
        ``Authorization`` and cookies. The URL must not contain user and password, see `take_credentials`.

        :param timeout: seconds for the whole exchange.
        :param hide: secrets in ``data``, which no message may contain; credentials in ``headers`` are hidden anyway.
        :raise NoResponse: the server did not respond in time, or the connection ended before the response did.
        :raise DiscoveryError: the response is larger than `MAX_BYTES` (decompressed, too), has another coding than gzip, or
            too many redirects.
        :raise CancelledError: the caller's Deferred was cancelled; the connection is aborted.
        """
        hidden = tuple(filter(None, (*hide, *_secrets(headers or {}))))
        whole = Deferred.fromCoroutine(self._follow(method, url, dict(headers or {}), data, hidden))
        try:
            return await whole.addTimeout(timeout, self._clock)
        except TimeoutError:
            raise NoResponse(f"{shown(url)}: no response within {timeout:g} s") from None

    async def open(self, method: str, url: str, *, headers: Mapping[str, str] | None = None) -> IResponse:
        """
        Send a request and wait for the head of the response, without any time limit: for responses that are read as a stream.

        Redirects are not followed. The caller reads the body (``deliverBody``) or drops the connection (``loseConnection``
        of its protocol's transport, which aborts); an abandoned response would keep its connection open
        (https://github.com/twisted/twisted/issues/8227).

        :raise NoResponse: no server responded.
        :raise CancelledError: the caller's Deferred was cancelled; the connection is aborted.
        """
        return await self._send(method, url, headers or {}, None)

    async def read(self, url: str, response: IResponse, hide: Sequence[str] = ()) -> APIResponse:
        """Read the body of a response that `open` returned; fails like `request`, but has no time limit."""
        fields = {
            name.decode("latin-1").lower(): b",".join(values).decode("latin-1")
            for name, values in response.headers.getAllRawHeaders()
        }
        body = await self._guarded(url, BodyCollector.read(response, MAX_BYTES))
        try:
            body = None if body is None else decode(body, fields.get(CODING, ""), MAX_BYTES)
        except ValueError as error:
            raise DiscoveryError(f"{shown(url)}: {error}") from None
        if body is None:
            raise DiscoveryError(f"{shown(url)}: the response is larger than {MAX_BYTES // MIB} MiB")
        return APIResponse(shown(url), response.code, fields, body, tuple(hide))

    def close(self) -> Deferred[None]:
        """
        Close all connections, idle or in use.

        :return Deferred(None): fires when they are closed.
        """
        return succeed(None) if self._connections is None else self._connections.close()

    async def _follow(
        self, method: str, url: str, headers: dict[str, str], data: bytes | None, hide: tuple[str, ...]
    ) -> APIResponse:
        # Only here, where the whole response is read: a streamed response has no limit.
        headers["Accept-Encoding"] = ACCEPTED
        for _ in range(_MAX_REDIRECTS + 1):
            response = await self.read(url, await self._send(method, url, headers, data), hide)
            location = response.headers.get("location")
            if method != "GET" or response.status not in _REDIRECTS or location is None:
                return response
            target = redirected(url, location)
            if origin(target) != origin(url):
                headers = {name: value for name, value in headers.items() if name.lower() not in _SECRET_HEADERS}
            url = target
        raise DiscoveryError(f"{shown(url)}: too many redirects")

    async def _send(self, method: str, url: str, headers: Mapping[str, str], data: bytes | None) -> IResponse:
        if not url.lower().startswith(("http://", "https://")):
            raise DiscoveryError(f"{shown(url)}: neither http nor https")
        fields = Headers()
        for name, value in (*headers.items(), *self._fields):
            fields.addRawHeader(name, value)
        # Redirects are followed here, and bodies read, because treq neither reads the bodies of redirects nor limits any.
        how: dict[str, Any] = {"allow_redirects": False, "unbuffered": True, "reactor": self._clock}
        try:
            sent = self._treq.request(method, LiteralURL.from_text(url), headers=fields, data=data, **how)
        except ValueError:
            # The error's text may contain the URL.
            raise DiscoveryError(f"{shown(url)}: not a URL that can be requested") from None
        response: IResponse = await self._guarded(url, sent)
        return response

    async def _guarded(self, url: str, waiting: Deferred[Any]) -> Any:
        """Wait for a result; turn failures into errors without secrets, and wrapped cancellations into `CancelledError`."""
        try:
            return await waiting
        except Exception as error:
            if is_cancelled(error):
                raise CancelledError from None
            raise NoResponse(f"{shown(url)}: {explain(error)}") from error


def _secrets(headers: Mapping[str, str]) -> list[str]:
    """Return the values of secret headers without their scheme (``Bearer``, ``token=``), and the passwords of HTTP basic."""
    values = [value for name, value in headers.items() if name.lower() in _SECRET_HEADERS]
    secrets = [re.split(r"[ =]", value, maxsplit=1)[-1] for value in values]
    basics = [base64.b64decode(value[6:]).decode("utf-8", "replace") for value in values if value.startswith("Basic ")]
    return secrets + [each.partition(":")[2] for each in basics]


def _said(body: bytes, content_type: str) -> str:
    """Return the error message in a response; HTML is meant for browsers, and is ignored."""
    text = body[: 64 * 1024].decode("utf-8", "replace").strip()
    if text.startswith("{"):
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return ""
        return next((said[key] for key in _WORDS if isinstance(said.get(key), str) and said[key]), "")
    return text.partition("\n")[0] if content_type.startswith("text/plain") else ""
