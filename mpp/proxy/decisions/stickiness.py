"""
Which server a client keeps for federation and remote read: see Note [Sticky servers] in `mpp.selection.sticky_servers`. Pure.
"""

from __future__ import annotations

from mpp.core.model import Backend, Selection
from mpp.proxy.decisions.affinity import rendezvous
from mpp.selection.sticky_servers import sticky_servers

NAME = "sticky"
"""Value of the label ``type`` in ``mpp_affinity_hits_total``, as if this were an affinity."""


def server_of(client: str, selection: Selection) -> Backend | None:
    """
    Return the server that a client keeps; None when no sticky or selected server is in service.

    :param client: its address.
    """
    return rendezvous(client, sticky_servers(selection.sticky, selection))
