"""
Recognizes the errors with which a Prometheus says that it cannot read its own storage. Pure.

Prometheus answers 422 ``execution`` to these, as to errors of the query, on all endpoints but remote read: only the text tells
them apart. The texts are those of ``tsdb/chunks``, ``tsdb/index`` and ``tsdb/encoding`` of 2.1 to 3.5; most of them were seen on
2.42.0 and 3.5.3 with an overwritten chunk file and an overwritten index.
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
# What a client wrote must not be taken for what the storage says: label values and the like stand in quotes
# (one that is not closed reaches to the end, so that the text is looked at once) ...
_QUOTED = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*(?:"|\\?\Z)', re.DOTALL)
# ... but these functions repeat their arguments as they are (``promql/functions.go``).
_ARGUMENTS = re.compile(r"invalid [a-z ]+ in label_(?:replace|join)\(\)")

_SELECTING = "expanding series: "
# The query's own time, or its size, is up; or nobody waits for it.
_OF_THE_QUERY = re.compile(
    r"context (?:deadline exceeded|canceled)|query timed out|query was canceled|query processing would load"
)


def is_storage_error(text: str) -> bool:
    """
    Return whether the text of an ``execution`` error speaks of the server's storage, not of the query.

    Whatever goes wrong while series are selected is the storage's too, unless it is known to be the query's.
    """
    if _ARGUMENTS.match(text):
        return False
    text = _QUOTED.sub('""', text)
    if _STORAGE.search(text):
        return True
    return text.startswith(_SELECTING) and not _OF_THE_QUERY.match(text, len(_SELECTING))
