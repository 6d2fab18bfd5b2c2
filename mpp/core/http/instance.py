"""
The token by which a running mpp recognizes its own requests. Pure.

# Note [Instance]

Discovery may list mpp itself among the servers: a selector that is too broad, a name that resolves to 0.0.0.0. A request that
goes there comes back, goes there again, and so on until the connections are used up. Therefore every request that mpp sends,
probes included, carries a field ``MPP-Instance`` with a token that was made at random when mpp was started, the same in all its
workers.

- A received request with the token of this mpp is answered with 508 at once.
- A server that answers a probe with such a 508 is mpp itself, and is never used.
- The tokens in a received request are kept in front of the added one. A loop through several mpp is found as well, by the first
  of them that sees a request twice; an mpp in front of another one is not a loop.
- A request joins the fetch of an identical one (single flight) only if that one has passed all mpps that it has passed itself.
  Otherwise each of two mpps could wait for the response of the other.

``Via`` (RFC 9110 section 7.6.3) was made for this, but switches compression off in nginx. The field's name has a hyphen because
nginx drops fields with a dot in theirs. The token gives no rights: a client that learns it gets 508 for its own requests.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from attrs import Factory, field, frozen

FIELD = b"mpp-instance"
"""The lower-case name of the header field that carries the token of each mpp on the way of a request."""

_LINE = b"MPP-Instance: %b\r\n"


@frozen
class Instance:
    """
    The identity of one running mpp.

    :ivar token: 16 random characters that no other mpp has.
    :ivar line: the line of the field in a request that has not passed through another mpp.
    """

    token: str
    line: bytes = field(init=False, repr=False, default=Factory(lambda self: _LINE % self.token.encode("ascii"), takes_self=True))
    _raw: bytes = field(init=False, repr=False, default=Factory(lambda self: self.token.encode("ascii"), takes_self=True))

    @classmethod
    def random(cls) -> Instance:
        """Return an instance with a new random token."""
        return cls(secrets.token_hex(8))

    def line_after(self, tokens: Sequence[bytes]) -> bytes:
        """
        Return the line of the field in a request that has passed through another mpp.

        :param tokens: the values of the fields in the received request.
        """
        return _LINE % b", ".join((*tokens, self._raw))

    def is_in(self, values: Sequence[bytes]) -> bool:
        """
        Return whether a request was sent by this mpp.

        The token is searched for without parsing a list: it is too random to occur by chance.

        :param values: the values of the request's ``MPP-Instance`` fields, or a text that may quote the token.
        """
        raw = self._raw
        return any(raw in value for value in values)
