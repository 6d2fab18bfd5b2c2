"""The steps that servers have answered, and all that is needed to judge the answers later. Pure; frozen values."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from sys import getsizeof

from attrs import evolve, frozen


@frozen
class Extent:
    """
    Consecutive steps that one server answered.

    :ivar first: the first step.
    :ivar last: the last step (inclusive).
    :ivar source: the server that answered, and all that is needed to judge the answer later; in mpp a
        `mpp.proxy.decisions.caching.ExtentSource`.
    :ivar expires_at: the time until which the answer may be used, in seconds of the monotonic clock.
    :ivar warnings: the warnings of the answer.
    :ivar infos: the infos of the answer.
    """

    first: int
    last: int
    source: Hashable
    expires_at: float
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()

    def within(self, first: int, last: int) -> Extent:
        """Return the part of the extent from the first step to the last one; there must be such a part."""
        if first <= self.first and self.last <= last:
            return self
        return evolve(self, first=max(self.first, first), last=min(self.last, last))

    def joins(self, after: Extent) -> bool:
        """Return whether this extent and a later one can be joined: nothing is between them, and only the expiry differs."""
        same = (self.source, self.warnings, self.infos) == (after.source, after.warnings, after.infos)
        return same and self.last + 1 == after.first

    @property
    def size(self) -> int:
        """Bytes of memory, without the source, which many extents share."""
        texts = (self.warnings, self.infos)
        numbers = (self.first, self.last, self.expires_at)
        return sum(map(getsizeof, (self, *numbers, *(text for each in texts for text in (each, *each)))))


def without(extents: Sequence[Extent], first: int, last: int) -> list[Extent]:
    """Return the parts of extents that lie before the first of some steps or behind the last of them."""
    before = [each.within(each.first, first - 1) for each in extents if each.first < first]
    after = [each.within(last + 1, each.last) for each in extents if each.last > last]
    return before + after


def replaced(extents: Sequence[Extent], new: Extent) -> tuple[Extent, ...]:
    """Return extents in order, with a new one in place of the steps that it has; neighbors are joined where that is possible."""
    found: list[Extent] = []
    for each in sorted([*without(extents, new.first, new.last), new], key=_first):
        if found and found[-1].joins(each):
            until = min(found[-1].expires_at, each.expires_at)
            found[-1] = evolve(found[-1], last=each.last, expires_at=until)
        else:
            found.append(each)
    return tuple(found)


def _first(extent: Extent) -> int:
    return extent.first
