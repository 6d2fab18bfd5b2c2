"""
Chooses the server that a request prefers, and the one that a request moves to when it waits for a slot. Pure.

No byte of a waiting request has been sent, so it may go to any server, whatever its method.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from mpp.core.model import Backend, RequestInfo, Selection
from mpp.core.prometheus.newest_needed import newest_needed
from mpp.proxy.decisions.affinity import rendezvous
from mpp.proxy.decisions.request_deadline import RequestDeadline
from mpp.selection.sticky_servers import sticky_servers

STICKY = "sticky"
"""
The value of the label ``type`` in ``mpp_affinity_hits_total`` for sticky requests (federation and remote read): they are counted
as if an affinity kept each client on its server.
"""


def elsewhere(
    selection: Selection,
    waits_on: Backend,
    excluded: Collection[Backend],
    has_room: Callable[[Backend], bool],
    *,
    query: bool = False,
) -> Backend | None:
    """
    Choose the server to which a request moves that waits for a slot.

    :param selection: the current Selection.
    :param waits_on: the server on which the request waits.
    :param excluded: the servers that failed the request, or on which an attempt runs.
    :param has_room: returns whether a server has a free slot for the request.
    :param query: whether the request needs one of the server's query slots, of which a busy server has none free.
    :return: a server in service with a free slot, selected ones first; if the server on which it waits is no longer selected, a
        selected one even without a free slot, to wait there; None if the request stays.
    """
    fit = (each for each in selection.ranked if selection.is_in_service(each) and not selection.lacks(each))
    candidates = [each for each in fit if each != waits_on and each not in excluded]
    for each in candidates:
        if has_room(each) and not (query and selection.is_busy(each)):
            return each
    if waits_on.id in selection.selected_by_id:
        return None
    return next((each for each in candidates if each.id in selection.selected_by_id), None)


def server_of(client: str, selection: Selection) -> Backend | None:
    """
    Return the server that a client keeps for federation and remote read, see Note [Sticky servers] in
    `mpp.selection.sticky_servers`; None if no sticky or selected server is in service.

    :param client: the client's address.
    """
    return rendezvous(client, sticky_servers(selection.sticky, selection))


def sticky_choice(
    deadline: RequestDeadline, selection: Selection, address: Callable[[RequestInfo], str]
) -> tuple[Backend | None, str]:
    """Return the server on which the client of a ``sticky`` request stays, and `STICKY`; (None, "") if there is none."""
    backend = server_of(address(deadline.info), selection)
    return backend, "" if backend is None else STICKY


def for_time(selection: Selection, info: RequestInfo) -> Selection:
    """Return the Selection for a request: one that ignores missing newest data if the request does not need that data."""
    if selection.past is None:
        return selection
    needed = newest_needed(info)
    return selection.past if needed is not None and needed <= selection.lacks_since else selection
