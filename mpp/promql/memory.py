"""A cache of the data that queries read, by the text of the query as the client sent it; bounded in bytes."""

from __future__ import annotations

import sys
from collections import OrderedDict
from urllib.parse import unquote_to_bytes

from mpp.promql.reader import MOST_CHARACTERS, TOO_LONG, read
from mpp.promql.reads import QueryReads, SelectorReads
from mpp.promql.recorded import Rules, no_rules

MOST_BYTES = 8 * 2**20
"""Maximum size of a cache in bytes, enough for some 5,000 queries."""
LARGEST_SHARE = 64
"""The largest entry is the maximum size of the cache divided by this; a larger one is not kept."""
LONGEST_ENCODED = 3 * MOST_CHARACTERS
"""Bytes of the longest query that is decoded: percent-encoding makes three bytes of one."""
MOST_ESCAPES = 10_000
"""Maximum number of percent-encoded characters in a query: to decode each takes a fifth of a microsecond."""

_ENTRY = 400
"""Bytes of an entry without its parts: measured, rounded up."""
_PART = 300
"""Bytes of a part."""


class QueryMemory:
    """
    A cache of the data that queries read, from which the least recently used entries are dropped first.

    The clients choose the queries, so the bound is on bytes and not on entries.

    :param rules: returns the data that rules read, for a metric that rules write; `forget` replaces it.
    :param most_bytes: the most bytes of this process's memory that all entries take, as estimated.
    """

    def __init__(self, rules: Rules = no_rules, most_bytes: int = MOST_BYTES) -> None:
        self._rules = rules
        self._most = most_bytes
        self._kept: OrderedDict[bytes, tuple[QueryReads, int]] = OrderedDict()
        self.held = 0

    def read(self, query: bytes) -> QueryReads:
        """
        Return the jobs and times that a query reads, which takes less than a microsecond for a query that is kept.

        :param query: the value of the parameter ``query`` as it was sent: percent-encoded, with ``+`` for a blank.
        """
        found = self._kept.get(query)
        if found is not None:
            self._kept.move_to_end(query)
            return found[0]
        if len(query) > LONGEST_ENCODED or query.count(b"%") > MOST_ESCAPES:
            return TOO_LONG
        reads = read(unquote_to_bytes(query.replace(b"+", b" ")).decode("utf-8", "replace"), self._rules)
        self._keep(query, reads)
        return reads

    def forget(self, rules: Rules) -> None:
        """Forget all queries, since the servers have other rules."""
        self._rules = rules
        self._kept.clear()
        self.held = 0

    def _keep(self, query: bytes, reads: QueryReads) -> None:
        size = _ENTRY + len(query) + sum(_size(part) for part in (*reads.selectors, *reads.from_start, *reads.from_end))
        if size > self._most // LARGEST_SHARE:
            return
        self._kept[query] = reads, size
        self.held += size
        while self.held > self._most:
            _, (_, freed) = self._kept.popitem(last=False)
            self.held -= freed


def _size(part: SelectorReads) -> int:
    texts = (value for each in part.jobs.conditions for value in (*each.values, *each.prefixes, *each.longer))
    return _PART + len(part.metric) + sum(sys.getsizeof(text) + 100 for text in texts)
