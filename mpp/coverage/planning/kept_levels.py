"""The results of comparisons of servers, kept for a query. `mpp.coverage.planning.levels` makes them."""

from __future__ import annotations

from attrs import Factory, define, field

from mpp.coverage.planning.steps import Segment, Tolerance

Levels = tuple[tuple[Segment, ...], ...]
"""Which servers are good enough when: by what is needed and looked back on, and if that differs by what is needed alone."""


@define
class KeptLevels:
    """
    The comparisons of some servers for a query.

    :ivar starts: where each of the spans of time starts that are compared one by one, in milliseconds since the epoch; the first
        one before all times.
    :ivar by_need: how much more than the best one a server may lack of what is needed.
    :ivar by_both: the same of all that is looked at.
    :ivar by_span: the result for each span; None if it has not been needed so far.
    """

    starts: tuple[int, ...]
    by_need: Tolerance
    by_both: Tolerance
    by_span: list[Levels | None] = field(init=False, default=Factory(lambda self: [None] * len(self.starts), takes_self=True))
