"""
Recognizes the errors by which Prometheus reports that it cannot read its own storage. Pure.

Prometheus answers 422 ``execution`` to storage errors and to errors of the query, on all endpoints except remote read: only the
text differs. The texts come from ``tsdb/chunks``, ``tsdb/index`` and ``tsdb/encoding`` of 2.1 to 3.5; most of them were observed
on 2.42.0 and 3.5.3 with an overwritten chunk file and an overwritten index.
"""

from __future__ import annotations

import re

_STORAGE = re.compile(
    r"cannot populate chunk"
    r"|checksum mismatch"
    r"|invalid checksum"
    r"|invalid size"
    r"|invalid magic number"
    r"|segment index \d+ out of range"
    r"|segment doesn't include enough bytes"
    r"|get postings"
    r"|reading chunk length"
    r"|\bblock: [0-9A-Z]{26}\b"
)
# A text of the client must not be mistaken for an error of the storage: label values and the like are in quotes
# (an unclosed quote extends to the end, so that the text is scanned only once) ...
_QUOTED = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*(?:"|\\?\Z)', re.DOTALL)
# ... but these functions repeat their arguments without quotes (``promql/functions.go``).
_ARGUMENTS = re.compile(r"invalid [a-z ]+ in label_(?:replace|join)\(\)")

_SELECTING = "expanding series: "
# The query exceeds its time or size, or its client has disconnected.
_OF_THE_QUERY = re.compile(
    r"context (?:deadline exceeded|canceled)|query timed out|query was canceled|query processing would load"
)


def is_storage_error(text: str) -> bool:
    """
    Return whether the text of an ``execution`` error describes a fault of the server's storage, not of the query.

    An error while series are selected is a fault of the storage, except for known faults of the query.
    """
    if _ARGUMENTS.match(text):
        return False
    text = _QUOTED.sub('""', text)
    if _STORAGE.search(text):
        return True
    return text.startswith(_SELECTING) and not _OF_THE_QUERY.match(text, len(_SELECTING))
