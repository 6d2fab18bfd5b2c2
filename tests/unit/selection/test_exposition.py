"""The text format's scanner finds what is asked for, wherever the page is split."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.selection.probing.metrics_scanner import MAX_LINE, MetricsScanner, Samples, label

PAGE = b"""\
# HELP up A "quoted" {help} text
up{job="a\\"}b",path="C:\\\\x\\n"} 1
upper 7
up{job="c", } +Inf 1700000000000\r
  up 3
up{broken
up nonsense
gone NaN
up{job="\xc3\xa9"} 2.5e3"""

FOUND = [('job="a\\"}b",path="C:\\\\x\\n"', 1.0), ('job="c", ', math.inf), ("", 3.0), ('job="é"', 2500.0)]


def scan(*chunks: bytes) -> Samples:
    """Scan a page for two metrics."""
    scanner = MetricsScanner(["up", "gone"])
    for chunk in chunks:
        scanner.feed(chunk)
    return scanner.finish()


class MetricsScannerTests(SynchronousTestCase):
    """What is found on a page."""

    def test_wanted_samples_are_found(self) -> None:
        """Samples of wanted metrics are found, with labels and values as they stand; all other lines are passed over."""
        self.assertEqual(scan(PAGE)["up"], FOUND)

    def test_nan_is_a_value(self) -> None:
        """NaN is a value."""
        ((labels, value),) = scan(PAGE)["gone"]
        self.assertEqual((labels, math.isnan(value)), ("", True))

    @given(st.sets(st.integers(0, len(PAGE))))
    def test_chunk_borders_do_not_matter(self, borders: set[int]) -> None:
        """A page gives the same samples in whatever pieces it comes."""
        cuts = [0, *sorted(borders), len(PAGE)]
        self.assertEqual(scan(*(PAGE[a:b] for a, b in pairwise(cuts)))["up"], FOUND)

    def test_absent_metric(self) -> None:
        """A metric that is not on the page is not in the result."""
        self.assertEqual(scan(b"other 1\n", b""), {})

    def test_overlong_line_is_skipped(self) -> None:
        """A line without an end is not held, and what follows it is found."""
        junk = b"up" * MAX_LINE
        self.assertEqual(scan(junk, junk, b"junk up 5\nup 1\n"), {"up": [("", 1.0)]})
        self.assertEqual(scan(b"up 1\n" + junk, b"x"), {"up": [("", 1.0)]})


class LabelTests(SynchronousTestCase):
    """Labels by name."""

    def test_value_is_unescaped(self) -> None:
        """A label's value is given as it was meant."""
        self.assertEqual(label('a="x",path="C:\\\\n\\"\\n"', "path"), 'C:\\n"\n')

    def test_absent_label_is_empty(self) -> None:
        """A label that is not there is empty, also when another label's value looks like it."""
        self.assertEqual(label('b="a=\\"1\\""', "a"), "")
