"""
A hash of the settings of a server that decide its responses to queries for the past. Pure.

As long as the hash stays the same, a result for a time of which all samples are stored stays correct. Only retention, the
deletion of series and samples that are written later can change it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from mpp.core.facts import ServerState

FLAGS = ("query.lookback-delta", "enable-feature")
"""The flags that change the meaning of a query."""

_BYTES = 8


def answers_id(server_state: ServerState, evaluation_s: float | None) -> str:
    """
    Return the hash of a server's version, the flags in `FLAGS`, the global evaluation interval and the external labels.

    The label that names the replica is left out, because the servers of a pair are meant to differ in it: each label with
    ``replica`` in its name, such as the Prometheus Operator's ``prometheus_replica``.

    :param evaluation_s: the global ``evaluation_interval`` in seconds, the default step of a subquery; None when it is not known.
    :return: the hash; empty when none of these values is known.
    """
    flags: Mapping[str, str] = dict(server_state.flags)
    labels = server_state.external_labels
    kept = None if labels is None else [pair for pair in labels if "replica" not in pair[0].lower()]
    known = [server_state.version or None, *(flags.get(name) for name in FLAGS), evaluation_s, kept]
    if all(each is None for each in known):
        return ""
    return hashlib.blake2b(json.dumps(known).encode(), digest_size=_BYTES).hexdigest()
