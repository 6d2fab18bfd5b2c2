"""
The token by which a running mpp recognizes its own requests. Pure.

# Note [Instance]

Discovery may list mpp itself among the servers: a selector that is too broad, a name that resolves to 0.0.0.0. A request that
goes there comes back, goes there again, and so on until the connections are used up. Therefore every request that mpp sends,
probes included, carries a field ``MPP-Instance`` with a token that was made at random when mpp was started, the same in all its
workers.

- A request that comes in with the own token is answered with 508 at once.
- A server that answers a probe with such a 508 is mpp itself, and is never used.
- The tokens that a request came with are kept in front of the own one, so a loop through several mpp is found as well, by the
  first of them that sees a request twice; an mpp in front of another one is not taken for a loop.

``Via`` (RFC 9110 section 7.6.3) was made for this, but switches compression off in nginx. The field's name has a hyphen because
nginx drops fields with a dot in theirs. The token gives no rights: a client that learns it gets 508 for its own requests.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from attrs import field, frozen

FIELD = b"mpp-instance"
"""The name of the field, in lower case."""

_LINE = b"MPP-Instance: %b\r\n"


@frozen
class Instance:
    """
    One running mpp.

    :ivar token: 16 characters that no other mpp has.
    :ivar line: the field as it is sent with requests that come from no mpp.
    """

    token: str
    line: bytes = field(init=False, repr=False)
    _raw: bytes = field(init=False, repr=False)

    @classmethod
    def random(cls) -> Instance:
        """Return one with a new token."""
        return cls(secrets.token_hex(8))

    @_raw.default
    def _raw_token(self) -> bytes:
        return self.token.encode("ascii")

    @line.default
    def _own_line(self) -> bytes:
        return _LINE % self.token.encode("ascii")

    def line_after(self, tokens: Sequence[bytes]) -> bytes:
        """
        Return the field as it is sent with a request that has one already.

        :param tokens: the values of the fields that it has.
        """
        return _LINE % b", ".join((*tokens, self._raw))

    def is_in(self, values: Sequence[bytes]) -> bool:
        """
        Return whether a request was sent by this mpp.

        The token is looked for as it is, without taking a list apart: it is too random to stand anywhere by chance.

        :param values: of its fields ``MPP-Instance``, or what may quote the token.
        """
        raw = self._raw
        return any(raw in value for value in values)
