"""
The servers among which the clients of federation and remote read are distributed. Pure.

# Note [Sticky servers]

A server adds its external labels to the series of ``/federate`` and ``/api/v1/read``. When two servers have different ones, a
client that changes between them gets two series with gaps instead of one. So each client stays with one server for as long as
that server is in service, even if the routing strategy selects another one meanwhile.

The sticky servers are the selected ones at the moment when none was sticky; one that goes out of service leaves them and does
not return before all have left. So nothing has to be remembered of a client: its address is hashed onto the sticky servers, and
it moves only when its own server leaves. They are part of the Selection, and thus the same in all workers.
"""

from __future__ import annotations

from mpp.core.model import Backend, Selection


def sticky_servers(last: tuple[Backend, ...], selection: Selection) -> tuple[Backend, ...]:
    """
    Return the sticky servers, see Note [Sticky servers]; empty when none of ``last`` and no selected server is in service.

    :param last: the sticky servers of the previous Selection.
    :param selection: the new Selection, to which the result will be added.
    """
    return tuple(filter(selection.is_in_service, last)) or tuple(filter(selection.is_in_service, selection.selected))
