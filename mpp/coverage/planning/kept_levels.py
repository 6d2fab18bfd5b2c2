"""The results of comparisons of servers, kept for a query. `mpp.coverage.planning.levels` makes them."""

from __future__ import annotations

from collections import OrderedDict

from attrs import define, field

from mpp.core.model import Backend
from mpp.coverage.planning.steps import GoodServers, Steps

Levels = tuple[GoodServers, ...]
"""The servers that are good enough: by data that is needed and looked back on; if it differs, a second value by the former."""


Totals = dict[tuple[Backend, bool], int]


@define
class KeptLevels:
    """
    The comparisons of servers for a query, by the servers that were compared.

    :ivar at_all_times: the last comparisons that serve all ranges.
    :ivar at_steps: the last comparisons for the steps of one range.
    :ivar totals: twice the sum of what each server lacks at the steps of one range, of the needed data (False) and of the data
        that is looked back on (True), for the last ranges.
    """

    at_all_times: OrderedDict[tuple[Backend, ...], Levels] = field(factory=OrderedDict)
    at_steps: OrderedDict[tuple[tuple[Backend, ...], Steps], Levels] = field(factory=OrderedDict)
    totals: OrderedDict[Steps, Totals] = field(factory=OrderedDict)
