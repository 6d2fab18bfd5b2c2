"""
Which server a request prefers, and where one moves that waits for a slot on a server. Pure.

Nothing of a waiting request has been sent, so it may go anywhere, whatever its method.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from mpp.core.model import Backend, RequestInfo, Selection
from mpp.coverage.needed import newest_needed
from mpp.proxy.decisions import stickiness
from mpp.proxy.decisions.request_deadline import RequestDeadline


def elsewhere(
    selection: Selection,
    waits_on: Backend,
    excluded: Collection[Backend],
    has_room: Callable[[Backend], bool],
    *,
    query: bool = False,
) -> Backend | None:
    """
    Choose the server that a waiting request moves to.

    :param selection: the one in force.
    :param waits_on: the server on which it waits.
    :param excluded: servers that failed the request, or are being asked.
    :param has_room: tells whether a server has a free slot for it.
    :param query: it needs a query slot of the server, which a busy one has not.
    :return: a server in service that has room, selected ones first; when the server that it waits on is not selected any more, a
        selected one even without room, to wait there; None when it stays.
    """
    fit = (each for each in selection.ranked if selection.is_in_service(each) and not selection.lacks(each))
    candidates = [each for each in fit if each != waits_on and each not in excluded]
    for each in candidates:
        if has_room(each) and not (query and selection.is_busy(each)):
            return each
    if waits_on.id in selection.selected_by_id:
        return None
    return next((each for each in candidates if each.id in selection.selected_by_id), None)


def sticky_choice(
    deadline: RequestDeadline, selection: Selection, address: Callable[[RequestInfo], str]
) -> tuple[Backend | None, str]:
    """Return the server that the client of a ``sticky`` request keeps, None if there is none, and what chose it, or empty."""
    backend = stickiness.server_of(address(deadline.info), selection)
    return backend, "" if backend is None else stickiness.NAME


def for_time(selection: Selection, info: RequestInfo) -> Selection:
    """Return the Selection that counts for a request: another one if it needs nothing of what servers lack."""
    if selection.past is None:
        return selection
    needed = newest_needed(info)
    return selection.past if needed is not None and needed <= selection.lacks_since else selection
