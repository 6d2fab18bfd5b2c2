"""
Turns a client's bytes into requests, or into a refusal.

It writes nothing and knows no transport: `mpp.wire.downstream.channel` asks it what there is to answer. However the bytes are
cut into segments, the requests are the same.
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
from mpp.wire.downstream.request_limits import FEW_FIELDS, FIELD_COST, FRAMING, MAX_FIELDS, REQUEST_COST, Limits
from mpp.wire.memory_budget import BufferedRequest, MemoryBudget

Incoming = tuple[bytes, bytes, bytes, Headers, bytes, bool]
"""
A complete request: method, target, version (``1.1`` or ``1.0``), fields, body, and whether the client would send another one on
this connection.
"""


class RequestParser:
    """
    Parses one connection's input.

    All of a request that is not complete is held in the Budget from the first segment that leaves it so. What is complete at once
    is held if it has more than a small body, if its head is large (`FEW_FIELDS`, `rules.LONG_HEAD`), or if it came behind another
    one that was not taken: thousands of requests fit into one segment. What is held is released by `close`, by `give_way`, or by
    the caller of `take`.

    :param client_of: returns the client's address, of a request's fields, or of none as long as they have not arrived.
    :param rejected: called when the rest of the input is refused at another time than during `feed` or `time_out`.
    :ivar ready: requests that arrived and were not taken.
    :ivar rejection: why the input after them is not read, or None.
    :ivar over: nothing that arrives is read any more: after a refusal, and after a request that was announced as the last.
    :ivar surplus: something arrived when it was over.
    :ivar owes_continue: the client waits for ``100 Continue`` before it sends the rest of the request after ``ready``.
    """

    __slots__ = (
        "_arrivals",
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
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self._limits = limits
        self._max_body_of = limits.max_body_of
        self._small_body = limits.small_body
        self._rejected = refused
        self._arrivals = PendingRequests(budget, client_of, self.give_way)
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
        """Whether a request has begun to arrive and is not complete; not yet by an empty line, which some send after a body."""
        return self._overhead > 2 or bool(self._target)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to answer, nor anything of a request yet."""
        return not (self._target or self.ready or self.rejection)

    @property
    def in_head(self) -> bool:
        """Whether that request's head is not complete."""
        return self._head is None

    @property
    def head(self) -> tuple[bytes, bytes, bytes, Headers] | None:
        """Method, target, version and fields of that request, if its head is complete."""
        if self._head is None:
            return None
        return self._parser.get_method(), self._target, self._version, self._head

    def mark(self, now: float) -> None:
        """Take note of how much of that request has arrived. To be called once a second or so."""
        self._arrivals.mark(now)

    def stalled(self, now: float) -> bool:
        """Return whether too little of that request's body has come lately."""
        return self._arrivals.stalled(now)

    def take(self) -> tuple[Incoming, BufferedRequest | None]:
        """Take the first of those that are ready, with what it holds in the Budget, which is the caller's to release."""
        arrivals = self._arrivals
        return self.ready.popleft(), arrivals.take() if arrivals.waiting else None

    def give_way(self) -> None:
        """Drop all that was not taken, in favor of a request for which there would be no memory otherwise."""
        dropped = self.ready[0] if self.ready else None
        self._drop_ready()
        refusal = _no_memory()
        self._reject(refusal)
        if dropped is not None:
            refusal.origin = cors.origin_of(dropped[1], dropped[3])
        self._rejected()

    def time_out(self) -> None:
        """Refuse the request that is arriving: it takes too long."""
        self._reject(BadRequest(408, f"The {'head' if self.in_head else 'body'} of the request took too long to arrive."))

    def feed(self, data: bytes) -> None:
        """Read a segment. Never raises because of what is in it."""
        while data:
            if self.over:
                self.surplus = True
                return
            self._overhead += len(data)
            try:
                self._parser.feed_data(data)
                break
            except HttpParserUpgrade as upgrade:
                # Nobody here upgrades; the request was an ordinary one (RFC 9110 section 7.8), and so is what follows it.
                data = data[upgrade.args[0] :]
                self._parser = HttpRequestParser(self)
            except HttpParserError as error:
                if self.over:
                    self.surplus = True
                else:
                    self._reject(self._why or BadRequest(400, f"This is not an HTTP request: {error}."))
                return
        if self._overhead or self._target:
            # Nearly always it ended with the end of a request.
            self._judge_partial(len(data))

    def _judge_partial(self, last: int) -> None:
        """
        Refuse a request that will not become one that is served, or for which there is no memory.

        :param last: bytes of the last segment.
        """
        # If it began behind another one its beginning was counted with that: at most so much.
        self._overhead = self._overhead or last
        if self._overhead - (1 + FRAMING) * self._size > self._limits.max_head:
            self._reject(self._large_head())
        elif len(self._fields) > MAX_FIELDS:
            self._reject(self._many_fields())
        elif self.partial and not self._arrivals.buffer(self._head, self._cost(), self._overhead):
            self._reject(_no_memory())

    def close(self) -> None:
        """Release what will not be taken."""
        self.over = True
        # They know who knows this one.
        self._rejected = self._arrivals.give_way = _ignore
        self._drop_ready()
        self._drop_partial()

    def _reject(self, refusal: BadRequest) -> None:
        self.over = True
        self.rejection = refusal
        refusal.origin = cors.origin_of(self._target, self._head or tuple(self._fields))
        self._drop_partial()

    def _drop_ready(self) -> None:
        self.ready.clear()
        self._arrivals.drop_waiting()

    def _drop_partial(self) -> None:
        if self.partial:
            # It has a part of the request, too.
            self._parser = HttpRequestParser(self)
        self._arrivals.drop_partial()
        self._reset()

    def _cost(self) -> int:
        """Return what the request takes in memory that is arriving."""
        count, cost = self._counted
        if self._head is None:
            cost = self._overhead + FIELD_COST * len(self._fields)
        elif count != len(self._fields):
            # More with each trailer.
            count = len(self._fields)
            cost = self._head_size() + FIELD_COST * count
            self._counted = count, cost
        return cost + self._size

    def _head_size(self) -> int:
        return len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._fields)

    def _large_head(self) -> BadRequest:
        return BadRequest(431, f"The head is larger than {self._limits.max_head} bytes.")

    def _many_fields(self) -> BadRequest:
        return BadRequest(431, f"The head has more than {MAX_FIELDS} fields.")

    # The parser's calls

    def on_url(self, part: bytes) -> None:
        """Take (a part of) the request target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field, or a trailer, which nobody will see."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Judge the head. Raising stops the parser."""
        headers = self._head = tuple(self._fields)
        self._version = version = self._parser.get_http_version().encode()
        try:
            # What has arrived since the request began is an upper bound; counting exactly is seldom needed.
            if self._overhead > self._limits.max_head < self._head_size():
                raise self._large_head()
            if len(headers) > MAX_FIELDS:
                raise self._many_fields()
            if self._target[:1] != b"/":
                self._target, headers = rules.origin_form(self._target, headers)
                self._head = headers
            announced = rules.check_head(self._target, version, headers, self._max_body_of)
            if self._overhead > rules.LONG_HEAD:
                rules.check_lists(headers)
            if announced is not rules.NOTHING and announced.body and self._parser.should_upgrade():
                raise BadRequest(400, "A request to upgrade the protocol cannot have a body here.")
        except BadRequest as why:
            self._why = why
            raise
        if announced is not rules.NOTHING:
            self.owes_continue = announced.expects_continue
            self._max_body = announced.max_body

    def on_body(self, data: bytes) -> None:
        """Take (a part of) the body. Whether there is room for it is found out at the end of the segment or of the body."""
        size = len(data)
        if self._size + size > self._max_body:
            self._why = rules.too_large(self._max_body)
            raise self._why
        if not self._size:
            self._body = data
        elif type(self._body) is bytearray:
            self._body += data
        else:
            # Not a list of the pieces: small ones would take many times their bytes.
            self._body = bytearray(self._body + data)
        self._size += size

    def on_message_complete(self) -> None:
        """Put the request with those that are ready."""
        parser = self._parser
        persistent = parser.should_keep_alive()
        headers = self._head
        assert headers is not None
        arrivals = self._arrivals
        whole = bool(self.ready) or len(headers) > FEW_FIELDS or self._overhead > rules.LONG_HEAD
        if whole or self._size > self._small_body or arrivals.partial is not None or arrivals.waiting:
            self._keep_buffering(headers, whole)
        self.ready.append((parser.get_method(), self._target, self._version, headers, bytes(self._body), persistent))
        self.over = not persistent
        self._reset()

    def _keep_buffering(self, headers: Headers, whole: bool) -> None:
        """
        Hold what is complete until it is taken: its body, and the head if that came before. Raising stops the parser.

        :param whole: its head counts wherever it came.
        """
        size = REQUEST_COST + self._cost() if whole or self._arrivals.partial is not None else self._size
        if not self._arrivals.complete(headers, size, len(self.ready)):
            self._why = _no_memory()
            raise self._why


def _no_memory() -> BadRequest:
    return BadRequest(503, "There is no memory left for this request; others arrived faster.")


def _ignore() -> None:
    """Do nothing."""
