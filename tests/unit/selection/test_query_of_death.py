"""How a read that a server may have died of is recognized, and for how long."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Backend, Choice, Headers, Observation, RequestInfo, Selection, Standing
from mpp.selection.query_of_death import MEMORY, REMEMBERED_S, SuspectQueries, healthy, key_of

A, B, C, D, E = (Backend("http", name, 9090) for name in "abcde")
FORM: Headers = ((b"Content-Type", b"application/x-www-form-urlencoded"),)


def key(target: bytes, method: bytes = b"GET", headers: Headers = (), body: bytes = b"") -> str:
    """Return the key of a request."""
    return key_of(RequestInfo(method, target, headers, body))


class KeyTests(SynchronousTestCase):
    """Which reads are the same."""

    QUERY = b"/api/v1/query_range?query=sum%28a%29+by+%28b%29&start=100&end=200&step=15"

    def test_same_text(self) -> None:
        """A panel that is refreshed, zoomed, sent as a form, or encoded otherwise asks the same."""
        for other in (
            b"/api/v1/query_range?query=sum%28a%29+by+%28b%29&start=115&end=215&step=15",
            b"/api/v1/query_range?end=9&step=60&start=1&query=sum(a)%20by%20(b)&timeout=7s&_=1700000000",
            b"/api/v1//query_range?query=sum%28a%29+by+%28b%29",
        ):
            self.assertEqual(key(other), key(self.QUERY), other)
        form = b"query=sum%28a%29+by+%28b%29&start=130&end=230&step=15"
        self.assertEqual(key(b"/api/v1/query_range", b"POST", FORM, form), key(self.QUERY))

    def test_other_text(self) -> None:
        """Another query, path or parameter is something else; so is another body that is no form."""
        for other in (
            b"/api/v1/query_range?query=sum%28a%29&start=100&end=200&step=15",
            b"/api/v1/query?query=sum%28a%29+by+%28b%29",
            self.QUERY + b"&stats=all",
        ):
            self.assertNotEqual(key(other), key(self.QUERY), other)
        read = b"/api/v1/read"
        self.assertNotEqual(key(read, b"POST", (), b"one"), key(read, b"POST", (), b"other"))
        self.assertEqual(key(read, b"POST", (), b"one"), key(read, b"POST", (), b"one"))


class HealthyTests(SynchronousTestCase):
    """How many servers may be relied upon."""

    def test_viable_and_busy(self) -> None:
        """Viable and busy ones count, and nobody else; those that are left out do not."""
        seen = tuple(Observation(backend, standing) for backend, standing in zip((A, B, C, D, E), Standing, strict=True))
        selection = Selection(1, Choice((A,), (B, C, D, E)), seen)
        self.assertEqual([healthy(selection, without) for without in ((), (A,), (A, B), (C, D))], [2, 1, 0, 2])
        self.assertEqual(healthy(Selection(), ()), 0)


class SuspectQueriesTests(SynchronousTestCase):
    """The memory of suspect reads."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.suspects = SuspectQueries(self.clock.seconds)

    def test_ten_minutes(self) -> None:
        """A read is remembered for ten minutes after the last server broke off under it."""
        self.suspects.add("a")
        self.clock.advance(REMEMBERED_S / 2)
        self.suspects.add("b")
        self.assertEqual(self.suspects.left(), [("a", REMEMBERED_S / 2), ("b", REMEMBERED_S)])
        self.suspects.add("a")
        self.clock.advance(REMEMBERED_S - 1)
        self.assertIn("a", self.suspects)
        self.clock.advance(1)
        self.assertNotIn("a", self.suspects)
        self.assertFalse(self.suspects.until)

    def test_number_of_suspects_is_bounded(self) -> None:
        """However many there are, the memory does not grow; the newest ones stay."""
        for number in range(3 * MEMORY):
            self.suspects.add(str(number))
        self.assertEqual(len(self.suspects.until), MEMORY)
        self.assertIn(str(3 * MEMORY - 1), self.suspects)

    def test_rest_of_the_time(self) -> None:
        """What another process has remembered for a while is remembered for the rest of the time."""
        self.suspects.add("a", 3.0)
        self.clock.advance(3.0)
        self.assertNotIn("a", self.suspects)
