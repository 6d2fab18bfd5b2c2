"""
The parser of the bytes of a client: returns requests, or the reason why the bytes are rejected.

It writes nothing and knows no transport; `mpp.wire.downstream.channel` takes the requests from it. The requests do not depend on
how the bytes are cut into segments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from mpp.core.errors import BadRequest
from mpp.core.model import Headers
from mpp.core.prometheus import cors
from mpp.wire.downstream import request_rules as rules
from mpp.wire.downstream.arrivals import PendingRequests
from mpp.wire.downstream.request_limits import FEW_FIELDS, FIELD_COST, FRAMING, MAX_FIELDS, REQUEST_COST, Limits, head_size
from mpp.wire.memory_budget import BufferedRequest, MemoryBudget

Incoming = tuple[bytes, bytes, bytes, Headers, bytes, bool]
"""
A complete request: method, target, version (``1.1`` or ``1.0``), fields, body, and whether the client may send another request
on this connection.
"""

_CLOSED = HttpRequestParser(None)  # The parser of every connection that is closed.


class RequestParser:
    """
    The parser of one connection's input.

    The memory of a request counts to the memory budget if it arrives in several segments. If it arrives in one, it counts only
    with a body larger than `Limits.small_body`, with a large head (`FEW_FIELDS`, `rules.LONG_HEAD`), or if it waits for another
    request: one segment may contain thousands. The memory is released when `close` or `give_way` drops the request; for a
    request that `take` has returned, the caller releases it.

    :param client_of: returns the client's address from a request's header fields; called without fields before they have arrived.
    :param rejected: called when `give_way` has dropped the requests, so that the client gets the rejection.
    :ivar arrivals: the memory of the requests that `take` has not returned yet, and how fast they arrive.
    :ivar ready: the complete requests that `take` has not returned yet.
    :ivar rejection: the error for the client when the input after the complete requests is rejected, or None.
    :ivar over: later input is not parsed: after a rejection, and after a request that was announced as the last.
    :ivar surplus: such later input has arrived.
    :ivar owes_continue: the client waits for ``100 Continue`` before it sends the rest of the incomplete request.
    """

    __slots__ = (
        "_body",
        "_counted",
        "_fields",
        "_head",
        "_limits",
        "_max_body",
        "_max_body_of",
        "_overhead",
        "_parser",
        "_rejected",
        "_size",
        "_small_body",
        "_target",
        "_version",
        "_why",
        "arrivals",
        "over",
        "owes_continue",
        "ready",
        "rejection",
        "surplus",
    )

    def __init__(
        self,
        limits: Limits,
        budget: MemoryBudget,
        client_of: Callable[[Headers], str] = lambda headers: "",
        rejected: Callable[[], None] = lambda: None,
    ) -> None:
        self._limits = limits
        self._max_body_of = limits.max_body_of
        self._small_body = limits.small_body
        self._rejected = rejected
        self.arrivals = PendingRequests(budget, client_of, self.give_way)
        self.ready: deque[Incoming] = deque()
        self.rejection: BadRequest | None = None
        self.over = False
        self.surplus = False
        self._why: BadRequest | None = None
        self._reset()
        self._parser = HttpRequestParser(self)

    def _reset(self) -> None:
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._head: Headers | None = None
        self._version = b""
        self._body: bytes | bytearray = b""
        self._size = 0
        self._max_body = 0
        self._overhead = 0
        self._counted = (-1, 0)
        self.owes_continue = False

    @property
    def partial(self) -> bool:
        """Whether there is an incomplete request; an empty line, which some clients send after a body, does not begin one."""
        return self._overhead > 2 or bool(self._target)

    @property
    def idle(self) -> bool:
        """Whether there is neither a request to answer, nor the beginning of one."""
        return not (self._target or self.ready or self.rejection)

    @property
    def in_head(self) -> bool:
        """Whether the head of the incomplete request is not complete."""
        return self._head is None

    @property
    def head(self) -> tuple[bytes, bytes, bytes, Headers] | None:
        """Method, target, version and fields of the incomplete request, if its head is complete."""
        if self._head is None:
            return None
        return self._parser.get_method(), self._target, self._version, self._head

    def take(self) -> tuple[Incoming, BufferedRequest | None]:
        """Remove and return the first complete request, and its memory if that is counted, which the caller releases."""
        arrivals = self.arrivals
        return self.ready.popleft(), arrivals.take() if arrivals.waiting else None

    def give_way(self) -> None:
        """Drop all requests that `take` has not returned, and reject them: a faster request needs their memory."""
        dropped = self.ready[0] if self.ready else None
        self._drop_ready()
        rejection = rules.no_memory()
        self._reject(rejection)
        if dropped is not None:
            rejection.origin = cors.origin_of(dropped[1], dropped[3])
        self._rejected()

    def time_out(self) -> None:
        """Reject the incomplete request, because it takes too long to arrive."""
        self._reject(BadRequest(408, f"The {'head' if self.in_head else 'body'} of the request took too long to arrive."))

    def feed(self, data: bytes) -> None:
        """Parse a segment, whatever its content; errors are kept in ``rejection``."""
        while data:
            if self.over:
                self.surplus = True
                return
            self._overhead += len(data)
            try:
                self._parser.feed_data(data)
                break
            except HttpParserUpgrade as upgrade:
                # No upgrade is supported, so this is an ordinary request (RFC 9110 section 7.8), and so is the one that follows.
                data = data[upgrade.args[0] :]
                self._parser = HttpRequestParser(self)
            except HttpParserError as error:
                if self.over:
                    self.surplus = True
                else:
                    self._reject(self._why or BadRequest(400, f"This is not an HTTP request: {error}."))
                return
        if self._overhead or self._target:
            # Nearly always the segment ended with the end of a request.
            self._judge_partial(len(data))

    def _judge_partial(self, last: int) -> None:
        """
        Reject the incomplete request if it exceeds a limit, or if there is no memory for it.

        :param last: the size of the last segment in bytes.
        """
        # The beginning of a request that follows another one in the segment was counted with that one: at most ``last``.
        self._overhead = self._overhead or last
        if self._overhead - (1 + FRAMING) * self._size > self._limits.max_head:
            self._reject(rules.large_head(self._limits.max_head))
        elif len(self._fields) > MAX_FIELDS:
            self._reject(rules.many_fields())
        elif self.partial and not self.arrivals.buffer(self._head, self._cost(), self._overhead):
            self._reject(rules.no_memory())

    def close(self) -> None:
        """Drop all requests; later input is ignored."""
        self.over = True
        self._rejected = self.arrivals.give_way = lambda: None
        self._drop_ready()
        self._drop_partial()
        # These refer to this parser, as the callbacks did: an error by the frames of its traceback.
        self._parser = _CLOSED
        self._why = self.rejection = None

    def _reject(self, rejection: BadRequest) -> None:
        self.over = True
        self.rejection = rejection
        rejection.origin = cors.origin_of(self._target, self._head or tuple(self._fields))
        self._drop_partial()

    def _drop_ready(self) -> None:
        self.ready.clear()
        self.arrivals.drop_waiting()

    def _drop_partial(self) -> None:
        if self.partial:
            # The parser has a part of the incomplete request.
            self._parser = HttpRequestParser(self)
        self.arrivals.drop_partial()
        self._reset()

    def _cost(self) -> int:
        """Return how many bytes of memory the incomplete request takes."""
        count, cost = self._counted
        if self._head is None:
            cost = self._overhead + FIELD_COST * len(self._fields)
        elif count != len(self._fields):
            # The head has just been completed, or trailers were added.
            count = len(self._fields)
            cost = head_size(self._target, self._fields) + FIELD_COST * count
            self._counted = count, cost
        return cost + self._size

    # Callbacks of httptools

    def on_url(self, part: bytes) -> None:
        """Add a part of the request target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header field, or a trailer, which is not passed on."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Check the complete head; an exception stops httptools."""
        headers = self._head = tuple(self._fields)
        self._version = version = self._parser.get_http_version().encode()
        try:
            # The bytes that have arrived are an upper bound of the head; its exact size is seldom needed.
            if self._overhead > self._limits.max_head < head_size(self._target, self._fields):
                raise rules.large_head(self._limits.max_head)
            if len(headers) > MAX_FIELDS:
                raise rules.many_fields()
            if self._target[:1] != b"/":
                self._target, headers = rules.origin_form(self._target, headers)
                self._head = headers
            announced = rules.check_head(self._target, version, headers, self._max_body_of)
            # The bytes of a segment count for its first request only.
            if self._overhead > rules.LONG_HEAD or (self.ready and head_size(self._target, headers) > rules.LONG_HEAD):
                rules.check_lists(headers)
            if announced is not rules.NOTHING and announced.body and self._parser.should_upgrade():
                raise BadRequest(400, "A request to upgrade the protocol must not have a body.")
        except BadRequest as why:
            self._why = why
            raise
        if announced is not rules.NOTHING:
            self.owes_continue = announced.expects_continue
            self._max_body = announced.max_body

    def on_body(self, data: bytes) -> None:
        """Add a part of the body. Its memory is counted at the end of the segment or of the body."""
        size = len(data)
        if self._size + size > self._max_body:
            self._why = rules.too_large(self._max_body)
            raise self._why
        if not self._size:
            self._body = data
        elif type(self._body) is bytearray:
            self._body += data
        else:
            # Not a list of pieces, since small pieces would take many times their size in memory.
            self._body = bytearray(self._body + data)
        self._size += size

    def on_message_complete(self) -> None:
        """Add the complete request to ``ready``."""
        parser = self._parser
        persistent = parser.should_keep_alive()
        headers, arrivals = self._head, self.arrivals
        assert headers is not None
        whole = bool(self.ready) or len(headers) > FEW_FIELDS or self._overhead > rules.LONG_HEAD
        if whole or self._size > self._small_body or arrivals.partial is not None or arrivals.waiting:
            self._count_complete(headers, whole)
        self.ready.append((parser.get_method(), self._target, self._version, headers, bytes(self._body), persistent))
        self.over = not persistent
        self._reset()

    def _count_complete(self, headers: Headers, whole: bool) -> None:
        """
        Count the memory of the complete request until it is taken: its body, and its head if that came in an earlier segment.

        :param whole: the head counts in any case.
        :raise BadRequest: there is no memory for it; this stops httptools.
        """
        size = REQUEST_COST + self._cost() if whole or self.arrivals.partial is not None else self._size
        if not self.arrivals.complete(headers, size, len(self.ready)):
            self._why = rules.no_memory()
            raise self._why
