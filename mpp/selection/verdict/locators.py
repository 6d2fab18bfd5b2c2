"""The status of a source of servers, as it is shown. Pure."""

from __future__ import annotations

from attrs import frozen


@frozen
class LocatorView:
    """
    The status of one locator.

    :ivar up: whether its last look-up succeeded.
    :ivar backends: number of backends in its last list.
    :ivar problem: why the look-up failed; if it succeeded, another problem, such as an empty list.
    """

    name: str
    up: bool
    backends: int
    problem: str = ""
