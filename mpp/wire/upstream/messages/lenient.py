"""
The repair of heads of responses that are not quite HTTP/1.1, but that Go, HAProxy and nginx accept.

Used after the strict parser has failed on a head, so that a usual response does not pay for it. Pure: bytes in, bytes out.

Three faults are repaired: lines that end with LF alone (RFC 9112 section 2.2), a Content-Length that is repeated with the same
value (section 6.3, item 5), and a Content-Length beside a Transfer-Encoding (item 3: the length is removed, and the connection
must not be used again). Lengths that differ or are no numbers stay as they are, and so stay an error.
"""

from __future__ import annotations

import re

MAX_HEAD = 64 * 1024
"""The limit of a head that is repaired, in bytes. A head of Prometheus has less than 1 KiB."""

_END = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"HTTP/1\.[01] 1[0-9][0-9]\b")
_LENGTH = b"content-length"
_CODING = b"transfer-encoding"


def is_repairable(head: bytes) -> bool:
    """
    Return whether a head that the strict parser rejects has one of the three faults that can be repaired, as far as is known.

    :param head: the part of it that has arrived, perhaps with a part of the body.
    """
    if not head.startswith(b"HTTP/1.") or len(head) > MAX_HEAD:
        return False
    lines = head.split(b"\n")
    framing = [line for line in lines if _name(line) in (_LENGTH, _CODING)]
    listed = any(b"," in line for line in framing if _name(line) == _LENGTH)
    return len(framing) > 1 or listed or any(not line.endswith(b"\r") for line in lines[:-1])


class TooLong(Exception):
    """The error of a head, or interim responses in front of it, longer than `MAX_HEAD`."""


class HeadRepair:
    """The repair of one response head that is not quite HTTP/1.1. The head may arrive in several segments."""

    def __init__(self) -> None:
        self._repaired = bytearray()
        self._received = b""
        self._searched = 0

    def feed(self, data: bytes) -> bytes | None:
        """
        Return the repaired head and the bytes after it, or None as long as the head has not completely arrived.

        Interim responses (1xx) stay in front of it.

        :raise TooLong: the bytes exceed `MAX_HEAD` without the end of a head.
        """
        received = self._received + data
        # An end of three bytes may have begun in the part that was searched before.
        start, searched = 0, max(0, self._searched - 2)
        while end := _END.search(received, searched):
            head = received[start : end.start()]
            start = searched = end.end()
            self._repaired += _repaired(head)
            if not _INTERIM.match(head):
                return bytes(self._repaired) + received[start:]
            self._check_length(len(self._repaired))
        self._received = received[start:]
        self._searched = len(self._received)
        self._check_length(self._searched)
        return None

    def _check_length(self, length: int) -> None:
        if length > MAX_HEAD:
            raise TooLong(f"a malformed head of more than {MAX_HEAD} bytes")


def _repaired(head: bytes) -> bytes:
    lines = [line.removesuffix(b"\r") for line in head.split(b"\n")]
    lengths = [line for line in lines if _name(line) == _LENGTH]
    values = {value.strip() for line in lengths for value in line.partition(b":")[2].split(b",")}
    if len(values) == 1 and min(values).isdigit():
        lines = [line for line in lines if line not in lengths]
        coded = any(_name(line) == _CODING for line in lines)
        lines.append(b"Connection: close" if coded else b"Content-Length: " + min(values))
    return b"\r\n".join([*lines, b"", b""])


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].lower()
