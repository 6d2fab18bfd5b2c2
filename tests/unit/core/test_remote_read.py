"""What a remote read asks for."""

from __future__ import annotations

import random
import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.prometheus.data_requests import DataKind, DataRequest
from mpp.core.prometheus.remote_read import MOST_BYTES, MOST_UNCOMPRESSED, NotReadable, find, uncompressed
from tests.remote_reads import compressed, matcher, member, number, query


class FindTests(SynchronousTestCase):
    """Bodies of requests."""

    def test_selectors_and_times(self) -> None:
        """All queries count, from the start of the first to the end of the last."""
        body = query(1000, 2000, matcher(0, "__name__", "up"), matcher(2, "job", 'a|"b')) + query(500, 900, matcher(3, "x", "y"))
        expected = (b"%7B__name__%3D%22up%22%2Cjob%3D~%22a%7C%5C%22b%22%7D", b"%7Bx%21~%22y%22%7D")
        self.assertEqual(find(compressed(body)), DataRequest(DataKind.SERIES, expected, 500, 2000))

    def test_times_before_the_epoch(self) -> None:
        """A number may be negative."""
        found = find(compressed(query(-5, 7, matcher(1, "a", "b"))))
        self.assertEqual(found and (found.start, found.end), (-5, 7))

    def test_what_is_no_request(self) -> None:
        """Nothing, no protobuf, another type of field, an operator that does not exist, a body that breaks off."""
        good = compressed(query(1, 2, matcher(0, "a", "b")))
        wrong = (b"\x0d\x00\x00\x00\x00", query(1, 2, matcher(4, "a", "b")), member(1, b"\xff" * 11), query(1, 2, b"\x1a\x05a"))
        for body in (b"", b"\x00", b"{}", good[:-1], good + b"\x00", *map(compressed, wrong), compressed(query(1, 2) * 201)):
            self.assertIsNone(find(body), body[:30])

    @given(st.binary(max_size=200))
    def test_any_bytes(self, body: bytes) -> None:
        """Nothing that a stranger sends raises an exception."""
        find(body)
        find(compressed(body))


class SnappyTests(SynchronousTestCase):
    """The block format."""

    def test_copies_may_overlap_their_output(self) -> None:
        """Of all three lengths of an offset; a copy may overlap with what it writes."""
        for element, expected in (
            (b"\x01\x02", b"abcd" + b"cdcd"),
            (b"\x0e\x04\x00", b"abcd" + b"abcd"),
            (b"\x1b\x01\x00\x00\x00", b"abcd" + b"d" * 7),
        ):
            self.assertEqual(uncompressed(number(len(expected)) + b"\x0cabcd" + element), expected)

    def test_long_literal(self) -> None:
        """The length of a long literal comes after its tag."""
        self.assertEqual(uncompressed(number(300) + b"\xf4\x2b\x01" + b"x" * 300), b"x" * 300)

    def test_hostile_bodies(self) -> None:
        """What is too large is not read, however small it is with its compression."""
        for body in (
            number(MOST_UNCOMPRESSED + 1) + b"\x00a",
            number(5) + b"\x00a" + b"\xfe\x01\x00" * 1000,
            number(5) + b"\x01\x01",
            b"\xff" * 20,
            compressed(b"a" * (MOST_BYTES + 1)),
        ):
            self.assertRaises(NotReadable, uncompressed, body)

    def test_time_is_bounded(self) -> None:
        """No body takes more than some milliseconds."""
        rng = random.Random(1)
        most = 0.0
        for body in (
            number(10_000) + b"\x00a" * 10_000,
            number(MOST_UNCOMPRESSED) + b"\x00a" + b"\xfe\x01\x00" * 20_000,
            rng.randbytes(MOST_BYTES),
        ):
            times = []
            for _ in range(5):
                began = time.process_time()
                find(body)
                times.append(time.process_time() - began)
            most = max(most, min(times))
        self.assertLess(most, 0.1)
