"""
Turns a client's bytes into requests, or into a refusal.

It writes nothing and knows no transport: `mpp.wire.server` asks it what there is to answer. However the bytes are cut into
segments, the requests are the same.
"""

from __future__ import annotations

from collections import deque

from attrs import frozen
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from mpp.errors import BadRequest
from mpp.model import MIB, Headers
from mpp.wire import rules
from mpp.wire.budget import Budget

# A byte in a chunk of its own takes five bytes of framing, in the shortest form; some senders pad the size with zeros.
FRAMING = 8
# More than any client sends; what they take in memory is many times their bytes (Apache and HAProxy allow 100).
MAX_FIELDS = 1000
# Heads up to here are not worth counting; beyond, many clients that never complete theirs could take all memory.
SMALL_HEAD = 64 * 1024


@frozen
class Limits:
    """
    What a client may send.

    :ivar max_body: bytes of one request's body.
    :ivar max_head: bytes of one request's head, trailers included, and what frames a chunked body beyond `FRAMING` times its
        size. Long PromQL in a GET makes heads of many KiB, and clients are refused nothing that Prometheus itself takes (Go's
        limit is 1 MiB).
    """

    max_body: int = 10 * MIB
    max_head: int = MIB


Incoming = tuple[bytes, bytes, bytes, Headers, bytes, bool]
"""
A complete request: method, target, version (``1.1`` or ``1.0``), fields, body, and whether the client would send another one on
this connection.
"""


class RequestReader:
    """
    Parses one connection's input.

    The bodies in ``ready`` are accounted for in the Budget, whoever takes one gives it back. Large heads are while they arrive.

    :ivar ready: requests that arrived and were not taken.
    :ivar refusal: why the input after them is not read, or None.
    :ivar over: nothing that arrives is read any more: after a refusal, and after a request that was announced as the last.
    :ivar surplus: something arrived when it was over.
    :ivar owes_continue: the client waits for ``100 Continue`` before it sends the rest of the request after ``ready``.
    """

    __slots__ = (
        "_body",
        "_budget",
        "_fields",
        "_head",
        "_head_held",
        "_limits",
        "_overhead",
        "_parser",
        "_size",
        "_target",
        "_version",
        "_why",
        "over",
        "owes_continue",
        "ready",
        "refusal",
        "surplus",
    )

    def __init__(self, limits: Limits, budget: Budget) -> None:
        self._limits = limits
        self._budget = budget
        self.ready: deque[Incoming] = deque()
        self.refusal: BadRequest | None = None
        self.over = False
        self.surplus = False
        self._why: BadRequest | None = None
        self._head_held = 0
        self._reset()
        self._parser = HttpRequestParser(self)

    def _reset(self) -> None:
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._head: Headers | None = None
        self._version = b""
        self._body: bytes | bytearray = b""
        self._size = 0
        self._overhead = 0
        if self._head_held:
            self._budget.give(self._head_held)
            self._head_held = 0
        self.owes_continue = False

    @property
    def partial(self) -> bool:
        """Whether a request has begun to arrive and is not complete; not yet by an empty line, which some send after a body."""
        return self._overhead > 2 or bool(self._target)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to answer, nor anything of a request yet."""
        return not (self._target or self.ready or self.refusal)

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

    @property
    def received(self) -> int:
        """How many bytes of that request have arrived, about."""
        return self._overhead

    def time_out(self) -> None:
        """Refuse the request that is arriving: it takes too long."""
        self._refuse(BadRequest(408, f"The {'head' if self.in_head else 'body'} of the request took too long to arrive."))

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
                    self._refuse(self._why or BadRequest(400, f"This is not an HTTP request: {error}."))
                return
        if self._overhead or self._fields:
            # Nearly always it ended with the end of a request.
            self._judge_partial()

    def _judge_partial(self) -> None:
        """Refuse a request that will not become one that is served, or would take too much memory until it does."""
        if self._overhead - (1 + FRAMING) * self._size > self._limits.max_head:
            self._refuse(self._large_head())
        elif len(self._fields) > MAX_FIELDS:
            self._refuse(self._many_fields())
        elif self._overhead > SMALL_HEAD and self._head is None:
            self._hold_head()

    def close(self) -> None:
        """Give back what nobody will take."""
        self.over = True
        self._budget.give(self._size + sum(len(body) for _, _, _, _, body, _ in self.ready))
        self.ready.clear()
        self._reset()

    def _refuse(self, refusal: BadRequest) -> None:
        self.over = True
        self.refusal = refusal
        self._budget.give(self._size)
        self._reset()

    def _hold_head(self) -> None:
        """Have the part of a head that has arrived count, if there is room for it."""
        if self._budget.take(self._overhead - self._head_held):
            self._head_held = self._overhead
        else:
            self._refuse(BadRequest(503, "There is no memory left for this request's head."))

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
            announced = rules.check_head(self._target, version, headers, self._limits.max_body)
            if announced.body and self._parser.should_upgrade():
                raise BadRequest(400, "A request to upgrade the protocol cannot have a body here.")
        except BadRequest as why:
            self._why = why
            raise
        self.owes_continue = announced.expects_continue

    def on_body(self, data: bytes) -> None:
        """Take (a part of) the body, if there is room for it."""
        size = len(data)
        if self._size + size > self._limits.max_body:
            self._why = rules.too_large(self._limits.max_body)
            raise self._why
        if not self._budget.take(size):
            self._why = BadRequest(503, "There is no memory left for this request's body.")
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
        self.ready.append((parser.get_method(), self._target, self._version, headers, bytes(self._body), persistent))
        self.over = not persistent
        self._reset()
