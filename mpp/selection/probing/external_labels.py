"""
The parser of the external labels on a Prometheus server's configuration page. Pure.

A server adds them to the series of federation (``/federate``) and of remote read, and to no other response. The servers of a pair
often differ in one of them on purpose, to distinguish the data that they send elsewhere: the Prometheus Operator calls it
``prometheus_replica``.
"""

from __future__ import annotations

import json

from mpp.core.text import bounds
from mpp.core.yaml.events import Table, read_yaml

MAX_SECTION = 16 * 1024
"""Maximum number of bytes of the section ``external_labels``; the labels in a longer one count as not known."""

# From Prometheus 3.0 on, names may be any UTF-8; they are displayed, and need a bound.
_LONGEST = 100
_MOST = 64


def parse(section: bytes) -> tuple[tuple[str, str], ...] | None:
    """
    Return the labels in the section ``external_labels`` of a configuration.

    :param section: its lines as they stand in the JSON text of ``/api/v1/status/config``, so with JSON's escapes, each ended by a
        line feed. Empty when the configuration has no such section.
    :return: names and values, by name, 64 at most; None when the section cannot be read.
    """
    try:
        text = json.loads(b'"%b"' % section.replace(b"\n", rb"\n"))
        tree = read_yaml(text, depth=2, scalar=str)
    except ValueError:
        return None
    if tree is None:
        return ()
    labels = tree.get("external_labels") if isinstance(tree, Table) else None
    if not isinstance(labels, Table):
        return None
    pairs = sorted((name, value) for name, value in labels.items() if isinstance(value, str))
    return tuple((bounds.line(name, _LONGEST), bounds.line(value, _LONGEST)) for name, value in pairs[:_MOST])
