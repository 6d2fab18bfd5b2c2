"""What servers lack of a query, for tests."""

from __future__ import annotations

from collections.abc import Iterable

from mpp.core.coverage import Coverage
from mpp.core.generators import result_of
from mpp.coverage.planning.query_lacks import DEFAULT_LOOKBACK_S, QueryLacks, working_out_lacks
from mpp.promql.reads import SelectorReads


def lacks_of(selectors: Iterable[SelectorReads], coverage: Coverage, lookback: float = DEFAULT_LOOKBACK_S) -> QueryLacks:
    """Return the data of a query that each server lacks, worked out at once; see `working_out_lacks`."""
    return result_of(working_out_lacks(selectors, coverage, lookback))
