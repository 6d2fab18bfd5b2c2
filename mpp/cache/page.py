"""
The cached steps of one page: the texts of all series at these steps, and the servers that answered them. Pure; frozen values.

A page that has the last of its steps is *full*, and compressed. Any other page is *open*: its texts stay as they are, so that
the next steps are added by joining two texts. A series without points in a page is not in it: the extents
say which steps were fetched.
"""

from __future__ import annotations

from sys import getsizeof

from attrs import field, frozen

from mpp.cache.extents import Extent
from mpp.cache.member_texts import MemberTexts


@frozen(eq=False)
class CachedPage:
    """
    The cached steps of a page.

    :ivar number: the page's number, see `mpp.cache.grid`.
    :ivar extents: the steps that it has, in order.
    :ivar members: the texts of all series at these steps, for each member (`mpp.cache.texts.cutting.MEMBERS`).
    :ivar size: bytes of memory, without the series, which most pages share.
    """

    number: int
    extents: tuple[Extent, ...]
    members: tuple[MemberTexts, MemberTexts]
    size: int = field(init=False)

    @size.default
    def _size(self) -> int:
        content = sum(each.size for each in (*self.extents, *self.members))
        return getsizeof(self) + getsizeof(self.number) + getsizeof(self.extents) + getsizeof(self.members) + content
