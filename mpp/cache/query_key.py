"""The key of a cached query. Knows neither how a request becomes a key nor what is cached for it."""

from __future__ import annotations

from typing import NamedTuple

from mpp.cache.grid import Grid
from mpp.core.model import Headers

# Bytes of a key besides its texts: measured, rounded up.
_KEY_SIZE = 600


class Question(NamedTuple):
    """
    The part of a range query that does not depend on the range of time and the client: its steps can be reused for others.

    :ivar query: the PromQL text, decoded, because clients encode differently.
    :ivar grid: the step and its phase, which give each step a number and a time.
    :ivar parameters: all further parameters but the timeout, as they were sent, sorted by name.
    """

    path: bytes
    query: bytes
    grid: Grid
    parameters: tuple[bytes, ...]


class QueryKey(NamedTuple):
    """
    The key of a cached query: the query and everything that may change its response.

    :ivar fields: the header fields that may change the response, see `mpp.proxy.decisions.identical`.
    :ivar user: the user that mpp has verified, or empty.
    """

    question: Question
    fields: Headers
    user: bytes

    @property
    def size(self) -> int:
        """Bytes of memory that the key takes."""
        texts = (self.question.path, self.question.query, self.user, *self.question.parameters)
        return _KEY_SIZE + sum(map(len, texts)) + sum(len(name) + len(value) + 150 for name, value in self.fields)
