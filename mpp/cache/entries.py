"""The interfaces of the entries of the range cache, and of their keys."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol


class CacheKey(Hashable, Protocol):
    """
    The key of an entry: the query and everything that may change its response. Keys that differ have a different ``repr``.

    :ivar question: the query alone, without the header fields and the user of its request.
    :ivar size: the bytes of memory that the key takes.
    """

    @property
    def question(self) -> Hashable:
        """The query alone, without the header fields and the user of its request."""

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
        """Drop parts of the entry until the rest takes at most ``most_bytes`` of memory, if that is possible."""
