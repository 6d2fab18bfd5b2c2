"""
Chooses the server that a client keeps for federation and remote read, see Note [Sticky servers] in
`mpp.selection.sticky_servers`. Pure.
"""

from __future__ import annotations

from mpp.core.model import Backend, Selection
from mpp.proxy.decisions.affinity import rendezvous
from mpp.selection.sticky_servers import sticky_servers

NAME = "sticky"
"""The label ``type`` in ``mpp_affinity_hits_total``, which counts this rule like an affinity."""


def server_of(client: str, selection: Selection) -> Backend | None:
    """
    Return the server that a client keeps; None if no sticky or selected server is in service.

    :param client: the client's address.
    """
    return rendezvous(client, sticky_servers(selection.sticky, selection))
