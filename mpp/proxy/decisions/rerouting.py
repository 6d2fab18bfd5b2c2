"""
Chooses the server of a request that reads data which another server lacks. Pure.

`mpp.coverage.planning` compares the servers; this module decides for which requests, and among which servers.
"""

from __future__ import annotations

from collections.abc import Collection

from mpp.core.coverage import Coverage
from mpp.core.model import Backend, RequestInfo, Selection
from mpp.core.prometheus import data_requests, paths, remote_read
from mpp.core.prometheus.data_requests import DataRequest
from mpp.coverage.planning.planner import Planner
from mpp.coverage.planning.request_plan import RequestPlan

_REMOTE_READ = b"/api/v1/read"


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
    Return which servers answer a request, if some servers lack data that it reads; None if no lack matters to the request.

    :param own: the server that would answer the request if no server lacked anything. If it is not in service, there is no plan.
    :param now: seconds since the epoch.
    :param excluded: servers that cannot answer the request.
    :param splice: whether different servers may answer different steps of a range query.
    """
    candidates = in_service(selection, excluded)
    if own not in candidates:
        return None
    request = data_request(info, now)
    plan = None if request is None else planner.plan(request, coverage, candidates, own, splice=splice)
    # The external labels, and so the identity of every series, change with the server.
    return None if plan is not None and _is_remote_read(info) and not plan.is_material else plan


def data_request(info: RequestInfo, now: float) -> DataRequest | None:
    """
    Return the data that a request asks for; None if it asks for none, or that is not certain.

    Without a time it asks for that of the current second: no gap is known better than to a second, and so a plan is prepared for
    the time for which it is made.
    """
    now //= 1
    kind = data_requests.kind_of(paths.path_of(info.target))
    if kind is None:
        return remote_read.find(info.body) if _is_remote_read(info) else None
    return data_requests.find(kind, info, now)


def _is_remote_read(info: RequestInfo) -> bool:
    return paths.path_of(info.target).endswith(_REMOTE_READ)


def next_best(plan: RequestPlan, selection: Selection, tried: Collection[Backend]) -> Backend | None:
    """Return the server for a further attempt: the one in service that lacks least and has not failed the request."""
    left = in_service(selection, tried)
    return plan.ranked(left)[0] if left else None


def in_service(selection: Selection, excluded: Collection[Backend] = ()) -> list[Backend]:
    """Return the servers that requests may be sent to, best first."""
    return [each for each in selection.ranked if selection.is_in_service(each) and each not in excluded]
