"""The deadline of one client request, and the request that is sent to a backend, with a timeout that ends before the deadline."""

from __future__ import annotations

from mpp.core.http import heads
from mpp.core.http.instance import Instance
from mpp.core.model import Backend, Headers, RequestInfo, Selection
from mpp.core.prometheus import paths
from mpp.core.prometheus import query_timeout as timeouts
from mpp.core.settings import Settings
from mpp.proxy.decisions.client_address import TrustedProxies

# In seconds: a server ends a query after the query's own timeout, and its response must arrive within this time after that.
GRACE_S = 1.0
# The timeout that is sent to a server ends before the deadline, so that its error can arrive: by a second, or a share if shorter.
_MARGIN_S = 1.0
_MARGIN_SHARE = 0.1


class RequestDeadline:
    """
    The deadline of one request, and what its path says about forwarding. Times are points in time by the monotonic clock.

    :param buffer: see below; None for ``--response-buffer``.
    :ivar query: whether the request takes one of the server's query slots (``--query.max-concurrency``).
    :ivar read: whether the request may be sent more than once.
    :ivar sticky: whether the client stays with one server, see `mpp.proxy.decisions.placement`.
    :ivar asked: the timeout parameter of the query in seconds, or None.
    :ivar began: when the request was complete.
    :ivar ends_at: the deadline, by which the response must begin.
    :ivar buffer: how many bytes of the response are buffered at most.
    """

    __slots__ = ("_changed", "_found", "_limits_query", "asked", "began", "buffer", "ends_at", "info", "query", "read", "sticky")

    def __init__(self, info: RequestInfo, began: float, settings: Settings, buffer: int | None = None) -> None:
        self.info = info
        self.began = began
        meaning = paths.meaning(info.target.partition(b"?")[0])
        self.read = meaning.is_read(info.method)
        self.query = meaning.takes_timeout
        self.sticky = meaning.sticky
        self._limits_query = meaning.takes_timeout and self.read and not settings.no_timeout_parameter
        self._found = timeouts.find(info) if meaning.takes_timeout else None
        self._changed: tuple[bytes, ...] = ()
        asked = self.asked = None if self._found is None else self._found.seconds
        longest = settings.request_timeout
        self.buffer = settings.response_buffer if buffer is None else buffer
        self.ends_at = began + (longest if asked is None else min(asked + GRACE_S, longest))

    def query_slots(self, selection: Selection, backend: Backend) -> int:
        """
        Return how many queries the backend runs at once, see `mpp.core.model.Selection.query_slots`; 0 if that is unknown or the
        request is no query.
        """
        return selection.query_slots.get(backend.id, 0) if self.query else 0

    def request(
        self, backend: Backend, prefixes: tuple[str, ...], now: float, sender: Instance, proxies: TrustedProxies | None
    ) -> tuple[bytes, bytes]:
        """
        Return the head and body of the request that is sent to a backend.

        :param prefixes: the route prefixes of all known backends, see `mpp.core.model.Selection.prefixes`.
        :param now: the time from which the server works on the request.
        :param sender: the identity of this mpp.
        :param proxies: the configured trusted proxies, or None.
        :raise LoopDetected: this mpp has sent the request itself.
        """
        info = self.info
        target, body = info.target, info.body
        if self._limits_query:
            left = self.ends_at - now
            margin = left * _MARGIN_SHARE
            target, body = timeouts.limited(info, self._found, left - (margin if margin < _MARGIN_S else _MARGIN_S))
            if target is not info.target:
                self._changed += (target,)
        trusted = proxies is not None and proxies.trusts_peer(info)
        if prefixes != paths.NO_PREFIXES or backend.prefix:
            target = paths.with_prefix(backend.prefix, target, prefixes)
        return heads.request_head(info, backend, target, len(body), sender, from_trusted_proxy=trusted), body

    def redirect(self, fields: Headers) -> Headers:
        """
        Return the header fields of a redirect without the timeout that mpp has added to the request, see
        `mpp.core.prometheus.query_timeout`.
        """
        return tuple((name, self._restored(value)) if name.lower() == b"location" else (name, value) for name, value in fields)

    def _restored(self, location: bytes) -> bytes:
        for sent in self._changed:
            location = timeouts.without_injected(location, self.info.target, self._found, sent)
        return location
