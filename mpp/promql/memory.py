"""A memory of what queries read, by their text as it was sent. Holds what was kept last, up to a number of bytes."""

from __future__ import annotations

import sys
from collections import OrderedDict
from urllib.parse import unquote_to_bytes

from mpp.promql.reader import MOST_CHARACTERS, TOO_LONG, read
from mpp.promql.reads import QueryReads, SelectorReads
from mpp.promql.recorded import Rules, no_rules

MOST_BYTES = 8 * 2**20
"""Some 5,000 queries."""
LARGEST_SHARE = 64
"""A single entry may have so many parts of the memory in one; a larger one is not kept."""
LONGEST_ENCODED = 3 * MOST_CHARACTERS
"""Bytes of a query that is looked at: percent-encoding makes three of one."""

_ENTRY = 400
"""Bytes of an entry without its parts: measured, rounded up."""
_PART = 300
"""Bytes of a part."""


class QueryMemory:
    """
    A least recently used cache of what queries read.

    A query is a client's choice, so nothing but the number of bytes bounds what is kept.

    :param rules: returns what the rules read that make a metric; see `forget` for others.
    :param most_bytes: how much is kept, in bytes of this process's memory, as estimated.
    """

    def __init__(self, rules: Rules = no_rules, most_bytes: int = MOST_BYTES) -> None:
        self._rules = rules
        self._most = most_bytes
        self._kept: OrderedDict[bytes, tuple[QueryReads, int]] = OrderedDict()
        self.held = 0

    def read(self, query: bytes) -> QueryReads:
        """
        Return what a query reads; takes less than a microsecond for one that is kept.

        :param query: the value of the parameter ``query`` as it was sent: percent-encoded, with ``+`` for a blank.
        """
        found = self._kept.get(query)
        if found is not None:
            self._kept.move_to_end(query)
            return found[0]
        if len(query) > LONGEST_ENCODED:
            return TOO_LONG
        reads = read(unquote_to_bytes(query.replace(b"+", b" ")).decode("utf-8", "replace"), self._rules)
        self._keep(query, reads)
        return reads

    def forget(self, rules: Rules) -> None:
        """Forget all, since there are other rules."""
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
