"""
Chooses the server of a request that reads data which another server lacks. Pure.

`mpp.coverage.planning` compares the servers; this module decides for which requests, and among which servers.
"""

from __future__ import annotations

from collections.abc import Collection

from mpp.core.coverage import Coverage
from mpp.core.model import Backend, RequestInfo, Selection
from mpp.core.prometheus import data_requests, paths
from mpp.coverage.planning.planner import Planner, RequestPlan


def request_plan(
    planner: Planner,
    coverage: Coverage,
    selection: Selection,
    info: RequestInfo,
    own: Backend,
    now: float,
    *,
    excluded: Collection[Backend] = (),
    splice: bool = True,
) -> RequestPlan | None:
    """
    Return the plan of which server should answer a request by what the servers lack; None if that does not matter.

    :param own: the server that would answer the request otherwise. If that server is a last resort, it keeps the request.
    :param now: seconds since the epoch.
    :param excluded: servers that cannot answer the request.
    :param splice: whether different servers may answer different steps of a range query.
    """
    kind = data_requests.kind_of(paths.path_of(info.target))
    if kind is None:
        return None
    candidates = in_service(selection, excluded)
    if len(candidates) < 2 or own not in candidates:
        return None
    request = data_requests.find(kind, info, now)
    return None if request is None else planner.plan(request, coverage, candidates, own, splice=splice)


def next_best(plan: RequestPlan, selection: Selection, tried: Collection[Backend]) -> Backend | None:
    """Return the server for a further attempt: the one in service that lacks least and has not failed the request."""
    left = in_service(selection, tried)
    return plan.ranked(left)[0] if left else None


def in_service(selection: Selection, excluded: Collection[Backend] = ()) -> list[Backend]:
    """Return the servers that requests may be sent to, best first."""
    return [each for each in selection.ranked if selection.is_in_service(each) and each not in excluded]
