"""
The parser of the bytes of a backend, which checks the framing of responses strictly.

The counterpart of `mpp.wire.downstream.request_parser`. It knows no transport, and makes no callbacks: a callback while a segment
is being parsed could send the next request on the same connection.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpResponseParser

from mpp.core.model import MIB, Headers
from mpp.wire.upstream.messages import lenient

# Bytes that may arrive without any progress of the body: the head and the trailers. Heads of Prometheus are below 1 KiB.
MAX_OVERHEAD = MIB


class MalformedResponse(Exception):
    """The error of bytes that are no valid response; its message says why."""


class ResponseParser:
    """
    The parser of one connection, for one response at a time.

    :ivar began: the head has arrived (other than that of a 1xx response).
    :ivar ended: the last byte has arrived.
    :ivar excess: bytes that belong to no response came after the last byte.
    :ivar persistent: once ended: the connection can carry another request, as far as the response says.
    :ivar length: the announced length of the body in bytes, or None.
    :ivar pieces: the pieces of the body that have arrived and that `take` has not returned yet.
    """

    __slots__ = (
        "_coding",
        "_fields",
        "_head",
        "_head_only",
        "_interim",
        "_introduced",
        "_overhead",
        "_parser",
        "_repair",
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
        Prepare for the next response.

        :param head_only: it is a response to HEAD, without a body, whatever the head announces (RFC 9110 section 9.3.2). So is
            a response with the status 204 or 304, which is found out when its head arrives.
        """
        self.began = self.ended = False
        self._head = b""
        self._repair: lenient.HeadRepair | None = None
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
        Parse a segment of a response.

        :raise MalformedResponse: the bytes are no valid response, so the connection must not be used again.
        """
        if self._repair is not None:
            self._read_repaired(self._repair, data)
        else:
            parser = self._parser or self._new_parser()
            try:
                parser.feed_data(data)
            except HttpParserError as error:
                self._parser_failed(error, data)
            else:
                if not self.began and len(self._head) <= lenient.MAX_HEAD:
                    self._head += data
        if self.ended:
            if self._head_only:
                # llhttp may wait for the announced body, which never comes, so this parser cannot be used again.
                self._parser = None
                self.excess = self.excess or bool(self.pieces)
                self.pieces.clear()
        elif not self.pieces:
            self._overhead += len(data)
            if self._overhead > MAX_OVERHEAD:
                raise MalformedResponse("more than 1 MiB without a byte of a body")
        else:
            self._overhead = 0

    def _new_parser(self) -> HttpResponseParser:
        parser = self._parser = HttpResponseParser(self)
        # Some servers write "5 " for the chunk size "5", to overwrite it later. It has no other interpretation.
        parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)
        return parser

    def _parser_failed(self, error: HttpParserError, data: bytes) -> None:
        """
        Raise `MalformedResponse`, unless a response has ended before the fault, or its head may be repairable.
        """
        if self.ended:
            self.excess = True
        elif not self.began and lenient.is_repairable(self._head + data):
            self._repair = lenient.HeadRepair()
            self._read_repaired(self._repair, self._head + data)
        else:
            raise MalformedResponse(str(error.__context__ or error)) from None

    def _read_repaired(self, repair: lenient.HeadRepair, data: bytes) -> None:
        """Parse the repaired head with a new parser, once the head has completely arrived."""
        try:
            repaired = repair.feed(data)
        except lenient.TooLong as error:
            raise MalformedResponse(str(error)) from None
        if repaired is None:
            return
        self._repair = None
        self._new_head()
        try:
            self._new_parser().feed_data(repaired)
        except HttpParserError as error:
            if not self.ended:
                raise MalformedResponse(str(error.__context__ or error)) from None
            self.excess = True

    def take(self) -> bytes:
        """Remove and return the ``pieces`` of the body, of which there must be some."""
        pieces = self.pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return body

    # Callbacks of httptools

    def on_message_begin(self) -> None:
        """Begin to read a head; an exception stops httptools if the response has already ended, so that `pieces` gets no more."""
        if self.ended:
            raise MalformedResponse("bytes after the response")
        self._new_head()

    def on_status(self, part: bytes) -> None:
        """Add a part of the reason phrase."""
        if not self.ended:
            self.reason += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header field; after the head it is a trailer, which is dropped."""
        if self.began:
            return
        self._fields.append((name, value))
        size = len(name)
        if size == 14 and name.lower() == b"content-length":
            self.length = int(value)
        elif size == 17 and name.lower() == b"transfer-encoding":
            # Several fields are one list (RFC 9110 section 5.3), and no list of codings is supported.
            self._coding = b"in several fields" if self._coding else value.strip().lower()

    def on_headers_complete(self) -> None:
        """Check the complete head; an exception stops httptools."""
        if self.began:
            return
        parser = self._parser
        assert parser is not None
        if not self._introduced:
            # Only once: no server changes its version during a connection, and the call takes as long as parsing a field.
            version = parser.get_http_version()
            if version not in ("1.1", "1.0"):
                raise MalformedResponse(f"HTTP/{version}")
            self._introduced = True
        status = parser.get_status_code()
        if status != 200:
            self._judge_status(status)
        if self._coding not in (b"", b"chunked"):
            raise MalformedResponse(f"transfer coding {self._coding!r}")
        if status < 200:
            self._interim = True
            return
        self.began = True
        self.status = status
        if self._head_only:
            self._end_with_head(parser)
        self.headers = tuple(self._fields)

    def _judge_status(self, status: int) -> None:
        if not 100 <= status <= 599 or status == 101:
            raise MalformedResponse(f"status {status}")
        if status in (204, 304):
            self._head_only = True

    def _end_with_head(self, parser: HttpResponseParser) -> None:
        """Record the end of a response that has no body, whatever its head announces."""
        # Some servers send the announced body, perhaps later: it would be read as the response to the next request.
        self.persistent = parser.should_keep_alive() and not (self.length or self._coding)
        self.ended = True
        if self.status == 204 and self.length is not None:
            # There is no body, and so the field must not be there (RFC 9110 section 8.6); clients would wait for one.
            self._fields = [field for field in self._fields if field[0].lower() != b"content-length"]
            self.length = None

    def on_message_complete(self) -> None:
        """Record the end of the response, unless it is a 1xx response."""
        if self._interim:
            self._interim = False
        elif not self.ended:
            assert self._parser is not None
            self.persistent = self._parser.should_keep_alive()
            self.ended = True
