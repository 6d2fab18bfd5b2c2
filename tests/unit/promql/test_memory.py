"""The memory of what queries read."""

from __future__ import annotations

from urllib.parse import quote, quote_plus

from twisted.trial.unittest import SynchronousTestCase

from mpp.promql.memory import LONGEST_ENCODED, MOST_ESCAPES, QueryMemory
from mpp.promql.reader import read
from mpp.promql.reads import QueryReads
from mpp.promql.rules import RuleDefinition, RuleReading

QUERY = 'sum by (job) (rate(x{job=~"a|é"}[5m])) + 1'


class MemoryTests(SynchronousTestCase):
    """A memory of queries."""

    def test_any_encoding_reads_the_same(self) -> None:
        """However a query is encoded, what it reads is right, and the same object the next time."""
        memory = QueryMemory()
        for encoded in (quote(QUERY), quote_plus(QUERY), quote(QUERY, safe="(){}")):
            first = memory.read(encoded.encode())
            self.assertEqual(first, read(QUERY))
            self.assertIs(memory.read(encoded.encode()), first)

    def test_least_recently_used_are_forgotten(self) -> None:
        """The least recently used queries are forgotten when there is no more room."""
        memory = QueryMemory(most_bytes=100_000)
        first = memory.read(b"x")
        for number in range(1000):
            memory.read(b"y%d" % number)
            self.assertIs(memory.read(b"x"), first)
            self.assertLessEqual(memory.held, 100_000)
        self.assertIs(memory.read(b"y999"), memory.read(b"y999"))
        old = memory.read(b"y0")
        self.assertEqual(old, read("y0"))

    def test_large_query_is_read_each_time(self) -> None:
        """A single query that would take much of the room is read each time."""
        memory = QueryMemory(most_bytes=100_000)
        memory.read(b"x")
        memory.read(b"x{a=%22" + b"a" * 2000 + b"%22}")
        self.assertLess(memory.held, 1000)

    def test_too_long(self) -> None:
        """A query that is too long, or has too many percent signs, is not even decoded."""
        self.assertNotEqual(QueryMemory().read(b"%61" * LONGEST_ENCODED).refused, "")
        inside = b"%61" * (MOST_ESCAPES - 2)
        self.assertEqual(QueryMemory().read(b"x{b=%22" + inside + b"%22}").refused, "")
        self.assertNotEqual(QueryMemory().read(b"x{b=%22" + inside + b"%61%22}").refused, "")

    def test_invalid_bytes_are_no_error(self) -> None:
        """Bytes that are no text, and percent signs without digits, are no error."""
        for encoded in (b"%ff%fe", b"%", b"%zz", b"x%00", b"\xff", b""):
            self.assertIsInstance(QueryMemory().read(encoded), QueryReads)

    def test_other_rules_read_a_query_again(self) -> None:
        """With other rules, a query is read again."""
        memory = QueryMemory()
        self.assertEqual(len(memory.read(b"r").selectors), 1)
        reading = RuleReading([RuleDefinition("r", "x[5m]", 60.0)])
        for _ in reading.steps():
            pass
        memory.forget(reading.book().recorded)
        self.assertEqual(memory.held, 0)
        self.assertEqual(len(memory.read(b"r").selectors), 2)
