"""The interfaces of the entries of the range cache, and of their keys."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol


class CacheKey(Hashable, Protocol):
    """
    The key of an entry: the query and everything that may change its response. Its ``repr`` is unambiguous.

    :ivar question: the query without the header fields and the user.
    :ivar size: the bytes of memory that the key takes.
    """

    @property
    def question(self) -> Hashable:
        """The query without the header fields and the user."""

    @property
    def size(self) -> int:
        """The bytes of memory that the key takes."""


class SizedEntry(Protocol):
    """The value for one key, with a known size: in mpp a `mpp.cache.cached_query.CachedQuery`."""

    @property
    def size(self) -> int:
        """The bytes of memory that the entry takes."""

    @property
    def spare(self) -> int:
        """The bytes of the parts that no later request has used."""

    def drop_spare(self) -> None:
        """Drop the parts that no later request has used."""

    def shrink(self, most_bytes: int, /) -> None:
        """Drop a part of the entry, so that the rest takes no more than some bytes, if that is possible."""
