"""What one client asked, and how long it waits for the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp import headers, paths, timeouts

if TYPE_CHECKING:
    from mpp.model import Backend, RequestFacts, Selection
    from mpp.settings import Settings

# A query that has a timeout of its own is ended by the server; so much later its answer must be here.
GRACE_S = 1.0
# A server is told to stop so much before nobody waits any more, so that it can say so: a second, less of short times.
_MARGIN_S = 1.0
_MARGIN_SHARE = 0.1


class Terms:
    """
    The terms of one request. Times are points in time, by the monotonic clock.

    :ivar query: it takes one of the server's query slots (``--query.max-concurrency``).
    :ivar read: it may be sent more than once.
    :ivar asked: how many seconds the query gives itself, or None.
    :ivar began: when it was complete.
    :ivar deadline: when nobody waits any more.
    """

    __slots__ = ("_found", "_limits_query", "asked", "began", "deadline", "facts", "query", "read")

    def __init__(self, facts: RequestFacts, began: float, settings: Settings) -> None:
        self.facts = facts
        self.began = began
        meaning = paths.meaning(paths.path_of(facts.target))
        self.read = meaning.is_read(facts.method)
        self.query = meaning.takes_timeout
        self._limits_query = meaning.takes_timeout and self.read and not settings.no_timeout_parameter
        self._found = timeouts.find(facts) if meaning.takes_timeout else None
        asked = self.asked = None if self._found is None else self._found.seconds
        longest = settings.request_timeout
        self.deadline = began + (longest if asked is None else min(asked + GRACE_S, longest))

    def query_slots(self, selection: Selection, backend: Backend) -> int:
        """Return how many queries the backend runs at once, see `mpp.model.Selection.query_slots`; 0 when it does not matter."""
        return selection.query_slots.get(backend.id, 0) if self.query else 0

    def request(self, backend: Backend, now: float) -> tuple[bytes, bytes]:
        """Give head and body of what is sent to a backend."""
        facts = self.facts
        target, body = facts.target, facts.body
        if self._limits_query:
            left = self.deadline - now
            margin = left * _MARGIN_SHARE
            target, body = timeouts.limited(facts, self._found, left - (margin if margin < _MARGIN_S else _MARGIN_S))
        return headers.request_head(facts, backend, paths.with_prefix(backend.prefix, target), len(body)), body
