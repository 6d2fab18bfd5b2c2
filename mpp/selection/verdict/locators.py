"""What is shown of a source of servers. Pure."""

from __future__ import annotations

from attrs import frozen


@frozen
class LocatorView:
    """
    One locator.

    :ivar up: its last look-up worked.
    :ivar backends: how many backends it gave last.
    :ivar problem: why the look-up failed; if it worked, what is wrong nevertheless, such as that nothing was found.
    """

    name: str
    up: bool
    backends: int
    problem: str = ""
