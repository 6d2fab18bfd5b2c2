"""What a client may send in one request: values only; `mpp.wire.downstream.request_parser` applies them."""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen

from mpp.core.model import KIB, MIB

# A byte in a chunk of its own takes five bytes of framing, in the shortest form; some senders pad the size with zeros.
FRAMING = 8
# More than any client sends; what they take in memory is many times their bytes (Apache and HAProxy allow 100).
MAX_FIELDS = 1000
# What a field takes in memory beside its bytes: two objects of 33 bytes for them, a pair, and a place in a list, each rounded up.
FIELD_COST = 160
# What a request takes in memory beside its fields and their bytes: the objects of which it consists, and its place in a queue.
REQUEST_COST = 600
# Up to here (and `rules.LONG_HEAD`) the fields of one request for each connection take too little to be counted.
FEW_FIELDS = 100


@frozen
class Limits:
    """
    What a client may send.

    :ivar max_body: bytes of one request's body, unless ``body_rule`` says otherwise.
    :ivar max_head: bytes of one request's head, trailers included, and what frames a chunked body beyond `FRAMING` times its
        size. Long PromQL in a GET makes heads of many KiB, and clients are refused nothing that Prometheus itself takes (Go's
        limit is 1 MiB).
    :ivar small_body: bytes of a body that is not counted if it arrives in one segment with its head, which is not counted then
        either: the form of a usual query. A client has one such request for each connection, and counting it takes a tenth of
        the time that a request takes.
    :ivar body_rule: returns how many bytes the body of a request may have, of its target and ``max_body``.
    """

    max_body: int = 10 * MIB
    max_head: int = MIB
    small_body: int = 4 * KIB
    body_rule: Callable[[bytes, int], int] = field(default=lambda target, otherwise: otherwise)

    def max_body_of(self, target: bytes) -> int:
        """Return how many bytes the body of a request may have."""
        return self.body_rule(target, self.max_body)
