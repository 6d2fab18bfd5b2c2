"""Which time is looked at next."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.intervals import Intervals
from mpp.core.model import Backend
from mpp.coverage.history.agenda import SETTLED_S, Agenda, Span, comparable_since

DAY = 86400.0
NOW = 100 * DAY + 500.0
A, B = (Backend("http", name, 9090) for name in ("prom-a", "prom-b"))
BOTH = frozenset((A, B))


class AgendaTests(SynchronousTestCase):
    """Two servers, seen at once."""

    def setUp(self) -> None:
        self.agenda = Agenda()
        self.agenda.see(A, NOW)
        self.agenda.see(B, NOW)
        self.end = NOW - SETTLED_S

    def next(self, *backends: Backend, until: float = NOW - SETTLED_S) -> Span | None:
        """Return what is next, with three days of data."""
        return self.agenda.next(backends or (A, B), NOW - 3 * DAY, until)

    def test_newest_day_first(self) -> None:
        """Days end at midnight, and the newest one comes first."""
        spans = []
        while (span := self.next()) is not None:
            spans.append((span.start, span.end))
            self.agenda.done(BOTH, span)
        expected = [(100 * DAY, self.end), (99 * DAY, 100 * DAY), (98 * DAY, 99 * DAY), (NOW - 3 * DAY, 98 * DAY)]
        self.assertEqual(spans, expected)
        self.assertEqual(self.agenda.compared_since(A), NOW - 3 * DAY)

    def test_one_of_them(self) -> None:
        """A day is looked at again for a server for which it was not."""
        first = self.next()
        assert first is not None
        self.agenda.done([A], first)
        self.assertEqual(self.next(), first)
        self.assertEqual(self.next(A), Span(first.start - DAY, first.start))

    def test_restart_is_looked_at_when_settled(self) -> None:
        """A time after a restart is looked at when all of it is settled."""
        while (span := self.next()) is not None:
            self.agenda.done(BOTH, span)
        self.agenda.again(A, Intervals.of([(NOW + 100, NOW + 200)]))
        self.assertIsNone(self.next(until=NOW + 150))
        self.assertEqual(self.next(until=NOW + 200), Span(NOW + 100, NOW + 200))

    def test_what_was_compared_stays_compared_while_a_time_is_pending(self) -> None:
        """A time that must be compared again is pending, and leaves it known how far the server was compared."""
        while (span := self.next()) is not None:
            self.agenda.done(BOTH, span)
        self.agenda.again(A, Intervals.of([(NOW - 7200, NOW + 200)]))
        self.assertEqual(self.agenda.compared_since(A), NOW - 3 * DAY)
        self.assertEqual(self.agenda.pending(A, NOW), Intervals.of([(NOW - 7200, NOW)]))
        self.assertEqual(self.agenda.pending(B, NOW), Intervals())

    def test_again_long_time(self) -> None:
        """Of a long time, such as the hours before a restart, what is settled is looked at before the rest."""
        noon = NOW + DAY / 2
        while (span := self.next()) is not None:
            self.agenda.done(BOTH, span)
        self.agenda.again(A, Intervals.of([(noon - 7200, noon + 200)]))
        span = self.next(until=noon + 20)
        self.assertEqual(span, Span(noon - 7200, noon + 20))
        assert span is not None
        self.agenda.done(BOTH, span)
        self.assertIsNone(self.next(until=noon + 190))
        self.assertEqual(self.next(until=noon + 210), Span(noon + 20, noon + 200))

    def test_seen_again(self) -> None:
        """A server that is seen again is not new."""
        self.agenda.see(A, NOW + 900)
        self.assertEqual(self.agenda.compared_since(A), NOW - SETTLED_S)

    def test_removed_server_is_not_looked_at(self) -> None:
        """Nothing is looked at for a server that has gone."""
        self.agenda.keep([A])
        self.assertIsNone(self.agenda.compared_since(B))
        self.assertEqual(self.agenda.pending(B, NOW), Intervals())
        self.agenda.again(B, Intervals.of([(0, 1)]))
        self.assertIsNone(self.next(B))
        self.assertIsNotNone(self.next(A, B))

    def test_comparable_since_the_oldest_samples(self) -> None:
        """Two servers have data since the second of their oldest samples."""
        self.assertEqual(comparable_since({A: 100.0, B: 500.0}, 0.0), 500.0)
        self.assertEqual(comparable_since({A: 100.0, B: None}, 50.0), 100.0)
        self.assertEqual(comparable_since({A: 100.0}, 0.0), math.inf)
