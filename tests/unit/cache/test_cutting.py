"""The cutting of texts between two points."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.cache.texts.cutting import EARLIEST_MS, HISTOGRAMS, LATEST_MS, VALUES, cut, milliseconds, offset
from mpp.promql.matrix import NotJoinable
from tests.unit.cache.answers import seconds

_SAMPLES = {
    VALUES: b'"0.1"',
    HISTOGRAMS: b'{"count":"3","sum":"-1","buckets":[[0,"0.25","0.5","1"],[3,"-1","1","2"]]}',
}
times = st.sets(st.integers(-5000, 5000), max_size=20).map(sorted)


def text_of(times: list[int], member: int) -> bytes:
    """Return points at times in milliseconds."""
    return b",".join(b"[%b,%b]" % (seconds(time), _SAMPLES[member]) for time in times)


class CuttingTests(SynchronousTestCase):
    """Points from one time to another."""

    @given(times, st.sampled_from([VALUES, HISTOGRAMS]), st.integers(-5100, 5100), st.integers(0, 5000))
    def test_points_are_those_between_the_times(self, times: list[int], member: int, first: int, length: int) -> None:
        """Whether or not there is a point at the times; what looks like a point within a histogram is none."""
        last = first + length
        expected = text_of([time for time in times if first <= time <= last], member)
        self.assertEqual(cut(text_of(times, member), member, first, last), expected)

    @given(times, st.sampled_from([VALUES, HISTOGRAMS]), st.integers(-5100, 5100), st.integers(0, 5000))
    def test_search_from_an_earlier_point(self, times: list[int], member: int, earlier: int, later: int) -> None:
        """A second cut is found from the first one on."""
        text = text_of(times, member)
        start = offset(text, member, earlier)
        self.assertEqual(offset(text, member, earlier + later, start), offset(text, member, earlier + later))

    def test_no_limit(self) -> None:
        """The earliest and the latest time are beyond all points."""
        text = text_of([-1500, 0, 1 << 52], VALUES)
        self.assertEqual(cut(text, VALUES, EARLIEST_MS, LATEST_MS), text)

    def test_times(self) -> None:
        """Whole seconds, or with up to three decimals; the sign counts for the decimals, too."""
        for text, time in (
            (b'[1,"0"]', 1000),
            (b'[-0.500,"0"]', -500),
            (b'[-59.200,"0"]', -59200),
            (b'[15.5,"0"]', 15500),
            (b'[1764400000.001,{"count":"1"}]', 1764400000001),
        ):
            self.assertEqual(milliseconds(text, 0), time)

    def test_times_that_prometheus_does_not_write(self) -> None:
        """They are an error, and never taken for another time."""
        for text in (b'[1e9,"0"]', b'["1",0]', b'[1.0001,"0"]', b"[]", b"[1.x,0]", b"[,]"):
            self.assertRaises(NotJoinable, milliseconds, text, 0)
            self.assertRaises(NotJoinable, cut, text, VALUES, 0, 1)
