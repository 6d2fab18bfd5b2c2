"""The results of comparisons of servers, kept for a query. `mpp.coverage.planning.levels` makes them."""

from __future__ import annotations

from attrs import Factory, define, field

from mpp.coverage.planning.steps import GoodServers, Tolerance

Levels = tuple[GoodServers, ...]
"""The servers that are good enough at each time: by data that is needed and looked back on; if it differs, also by the former."""


@define
class KeptLevels:
    """
    The comparisons of some servers for a query.

    :ivar starts: the start of each span of time that is compared on its own, in milliseconds since the epoch; the first one is
        before all times.
    :ivar by_need: how much more than the best server another good one may lack of the data that is needed.
    :ivar by_both: the same for all data that is looked back on.
    :ivar by_span: the result for each span; None if it has not been needed so far.
    """

    starts: tuple[int, ...]
    by_need: Tolerance
    by_both: Tolerance
    by_span: list[Levels | None] = field(init=False, default=Factory(lambda self: [None] * len(self.starts), takes_self=True))
