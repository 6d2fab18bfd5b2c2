"""The limits of a client's request: values only; `mpp.wire.downstream.request_parser` applies them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import field, frozen

from mpp.core.model import KIB, MIB

# Bytes of framing per byte of a chunked body: a chunk of one byte has at least five; some senders pad its size with zeros.
FRAMING = 8
# More fields than any client sends. They take many times their size in memory. Apache and HAProxy allow 100.
MAX_FIELDS = 1000
# Bytes of memory of a field beside its content: two objects of 33 bytes, a pair, and a place in a list, each rounded up.
FIELD_COST = 160
# Bytes of memory of a request beside its fields: the objects of which it consists, and its place in a queue.
REQUEST_COST = 600
# Up to this number (and `rules.LONG_HEAD`) the fields of one request per connection take too little memory to be counted.
FEW_FIELDS = 100


@frozen
class Limits:
    """
    The limits of the size of a request.

    :ivar max_body: how many bytes a body may have, unless ``body_rule`` says otherwise.
    :ivar max_head: how many bytes a head may have, trailers included. The framing of a chunked body counts as well, as far as it
        exceeds `FRAMING` bytes per byte of the body. Long PromQL in a GET makes heads of many KiB, and mpp accepts what
        Prometheus itself accepts (Go's limit is 1 MiB).
    :ivar small_body: a request with at most so many bytes of body does not count to the memory budget if it arrives in one
        segment, as usual queries do. A client has one such request per connection, and counting it would take a tenth of the
        time that a request takes.
    :ivar body_rule: returns how many bytes the body of a request may have, from its target and ``max_body``.
    """

    max_body: int = 10 * MIB
    max_head: int = MIB
    small_body: int = 4 * KIB
    body_rule: Callable[[bytes, int], int] = field(default=lambda target, otherwise: otherwise)

    def max_body_of(self, target: bytes) -> int:
        """Return how many bytes the body of a request may have."""
        return self.body_rule(target, self.max_body)


def head_size(target: bytes, fields: Sequence[tuple[bytes, bytes]]) -> int:
    """Return how many bytes a request target and header fields had on the wire."""
    return len(target) + sum(len(name) + len(value) + 4 for name, value in fields)
