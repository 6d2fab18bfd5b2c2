"""
The backends of the locators that a reload removed, and how long they stay. Knows no look-ups.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from attrs import define, evolve

from mpp.core.interfaces import ILocator
from mpp.core.model import DiscoveredBackend
from mpp.discovery.locator_status import HOLD_S, LocatorStatus


class NewLocator(Protocol):
    """A locator that came with a reload, with its present status."""

    locator: ILocator
    source: LocatorStatus


@define(eq=False)
class FormerBackends:
    """
    The backends of the locators that one reload removed. They stay until the reload's new locators have responded: a source that
    is down when it is configured must not leave clients without any server. If the new list is one that may be empty by mistake,
    they stay for `HOLD_S` longer, as if it had replaced the list of the same locator.

    :ivar located: the backends.
    :ivar awaited: the new locators.
    :ivar empty_since: monotonic time at which all new locators had responded and such a list was empty; None before that.
    """

    located: tuple[DiscoveredBackend, ...]
    awaited: tuple[NewLocator, ...]
    empty_since: float | None = None

    def after(self, gone: Collection[NewLocator], fresh: tuple[NewLocator, ...]) -> FormerBackends:
        """
        Return the backends after a further reload: in place of a removed locator, its new ones are waited for. An empty list of
        these is held for the whole of `HOLD_S`, however long another one was held before.
        """
        left = tuple(each for each in self.awaited if each not in gone)
        return self if len(left) == len(self.awaited) else evolve(self, awaited=(*left, *fresh), empty_since=None)

    def still_needed(self, *, listed: bool, now: float) -> bool:
        """
        Return whether the backends stay; the time of an empty list counts from the first call that finds it.

        :param listed: whether the present locators list any backend. If they do not, a new locator that could be read in part
            only has not replaced anything yet.
        """
        if not all(each.source.read for each in self.awaited):
            return True
        if not listed and any(each.source.problem for each in self.awaited):
            return True
        if not any(each.locator.explicit and not each.source.discovered for each in self.awaited):
            return False
        self.empty_since = now if self.empty_since is None else self.empty_since
        return now - self.empty_since < HOLD_S
