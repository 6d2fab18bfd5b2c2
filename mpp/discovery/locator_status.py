"""
The status of a locator: what its look-ups so far have found, and what is wrong with its source. Pure.
"""

from __future__ import annotations

from attrs import frozen

from mpp.core.model import DiscoveredBackend

HOLD_S = 60.0
"""Seconds for which a list of file_sd or HTTP SD must stay empty before its last backends are dropped: time to fix a mistake."""


@frozen
class LocatorStatus:
    """
    The status of one locator.

    :ivar name: the locator's name.
    :ivar discovered: its last good list; empty before the first one.
    :ivar problem: why its last look-up failed, or why the empty list that it returned is not used yet; otherwise empty.
    :ivar errors: number of failed look-ups so far.
    :ivar read: whether any look-up so far has succeeded, perhaps in part.
    :ivar empty_since: monotonic time at which the source began to list nothing, while its last list is kept; otherwise None.
    :ivar note: a phrase for the operator if the last successful look-up found no backends; empty if it found some.
    """

    name: str
    discovered: tuple[DiscoveredBackend, ...] = ()
    problem: str = ""
    errors: int = 0
    read: bool = False
    empty_since: float | None = None
    note: str = ""

    @property
    def up(self) -> bool:
        """Whether the last look-up succeeded and its list is in use."""
        return not self.problem
