"""
Turns a backend's bytes into the notes an answer is made of, and keeps the framing honest.

The counterpart of `mpp.wire.reader`. It knows no transport, and calls nobody: whoever was called while a segment is being parsed
could send the next request on the same connection.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpResponseParser

from mpp.model import MIB, Headers

# What may arrive without any progress of the body: an answer's head, its trailers. Prometheus' heads are below 1 KiB.
MAX_OVERHEAD = MIB


class Garbled(Exception):
    """What arrived is not an answer; the message says why."""


class AnswerReader:
    """
    Parses what arrives on one connection, one answer at a time.

    :ivar began: the head has arrived (not that of a 1xx answer).
    :ivar ended: the last byte has arrived.
    :ivar excess: something followed the last byte.
    :ivar persistent: when ended: the backend keeps the connection open, and the end was not the connection's.
    :ivar length: the announced length of the body, or None.
    :ivar pieces: what has arrived of the body and was not taken.
    """

    __slots__ = (
        "_coding",
        "_fields",
        "_head_only",
        "_interim",
        "_introduced",
        "_overhead",
        "_parser",
        "began",
        "ended",
        "excess",
        "headers",
        "length",
        "on_body",
        "persistent",
        "pieces",
        "reason",
        "status",
    )

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.on_body = self.pieces.append
        self.excess = self.persistent = False
        self.status = 0
        self.headers: Headers = ()
        self._interim = self._introduced = False
        self._parser: HttpResponseParser | None = None
        self._new_head()
        self.expect(head_only=False)

    def expect(self, *, head_only: bool) -> None:
        """
        Await the next answer.

        :param head_only: it is one to HEAD: there is no body, whatever the head announces (RFC 9110 section 9.3.2).
        """
        self.began = self.ended = False
        self._head_only = head_only
        self._overhead = 0

    def _new_head(self) -> None:
        self._fields: list[tuple[bytes, bytes]] = []
        self._coding = self.reason = b""
        self.length: int | None = None

    @property
    def ends_with_connection(self) -> bool:
        """Whether the end of the connection is the end of the body (RFC 9112 section 6.3)."""
        return self.began and not self.ended and self.length is None and not self._coding

    def feed(self, data: bytes) -> None:
        """
        Read a segment.

        :raise Garbled: the connection is of no further use.
        """
        parser = self._parser
        if parser is None:
            parser = self._parser = HttpResponseParser(self)
        try:
            parser.feed_data(data)
        except HttpParserError as error:
            if not self.ended:
                raise Garbled(str(error.__context__ or error)) from None
            self.excess = True
        if self.ended:
            if self._head_only:
                # llhttp waits for the announced body, which never comes: it is done with.
                self._parser = None
                self.excess = self.excess or bool(self.pieces)
                self.pieces.clear()
        elif not self.pieces:
            self._overhead += len(data)
            if self._overhead > MAX_OVERHEAD:
                raise Garbled("more than 1 MiB without a byte of a body")
        else:
            self._overhead = 0

    def take(self) -> bytes:
        """Give what has arrived of the body; only when there are ``pieces``."""
        pieces = self.pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return body

    # The parser's calls

    def on_message_begin(self) -> None:
        """Start a head; an answer nobody asked for is excess."""
        if self.ended:
            self.excess = True
        else:
            self._new_head()

    def on_status(self, part: bytes) -> None:
        """Take (a part of) the reason phrase."""
        if not self.ended:
            self.reason += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field; after the head it is a trailer, and dropped."""
        if self.began:
            return
        self._fields.append((name, value))
        size = len(name)
        if size == 14 and name.lower() == b"content-length":
            self.length = int(value)
        elif size == 17 and name.lower() == b"transfer-encoding":
            # Several fields are one list (RFC 9110 section 5.3), none of which is known here.
            self._coding = b"in several fields" if self._coding else value.strip().lower()

    def on_headers_complete(self) -> None:
        """Judge the head. Raising stops the parser."""
        if self.began:
            return
        parser = self._parser
        assert parser is not None
        if not self._introduced:
            # Once: no server changes over in the midst of a connection, and the parser takes as long to tell as for a field.
            version = parser.get_http_version()
            if version not in ("1.1", "1.0"):
                raise Garbled(f"HTTP/{version}")
            self._introduced = True
        status = parser.get_status_code()
        if not 100 <= status <= 599 or status == 101:
            raise Garbled(f"status {status}")
        if self._coding not in (b"", b"chunked"):
            raise Garbled(f"transfer coding {self._coding!r}")
        if status < 200:
            self._interim = True
            return
        self.began = True
        self.status = status
        self.headers = tuple(self._fields)
        if self._head_only:
            self.persistent = parser.should_keep_alive()
            self.ended = True

    def on_message_complete(self) -> None:
        """Take note of the end, unless it is that of a 1xx answer."""
        if self._interim:
            self._interim = False
        elif not self.ended:
            assert self._parser is not None
            self.persistent = self._parser.should_keep_alive()
            self.ended = True
