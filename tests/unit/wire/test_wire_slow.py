"""Tests of `mpp.wire.upstream.slow`: paused responses, and which of them is given up."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.wire.upstream.slow import SPAN_S, PausedReader, SlowReaders, may_park, to_reset


class Response:
    """A response whose client takes what the test says."""

    def __init__(self, client: str = "192.0.2.1") -> None:
        self.bytes = 0
        self._client = client

    def client(self) -> str:
        return self._client

    def taken(self) -> int:
        return self.bytes


class ParkingTests(SynchronousTestCase):
    """`may_park`: which paused response gives its slot back."""

    def test_number_of_parked_responses_is_bounded(self) -> None:
        """As many as there are slots are parked, and at most half of them for one client, but one at least."""
        for parked, of_client, limit, expected in (
            (0, 0, 1, True),
            (1, 0, 1, False),
            (0, 0, 4, True),
            (1, 1, 4, True),
            (2, 2, 4, False),
            (3, 1, 4, True),
            (4, 0, 4, False),
            (4, 1, 4, False),
            (0, 0, 0, False),
            (127, 127, 256, True),
            (128, 128, 256, False),
            (255, 127, 256, True),
        ):
            self.assertEqual(may_park(parked, of_client, limit), expected, (parked, of_client, limit))


class ResettingTests(SynchronousTestCase):
    """`to_reset`: which response is given up when a request waits."""

    def choose(self, limit: int, *readers: tuple[str, int, bool]) -> tuple[str, int] | None:
        chosen = to_reset([PausedReader(Response(), *reader) for reader in readers], limit)
        return None if chosen is None else (chosen.client, chosen.taken)

    def test_slowest_response_is_reset(self) -> None:
        """The response that took least goes: of all when all places are used up, else of the clients that use too many."""
        for limit, readers, expected in (
            (2, (), None),
            # All of them are parked: giving one up would free no slot.
            (2, (("a", 1, True), ("b", 2, True)), None),
            (2, (("a", 1, True), ("b", 2, True), ("c", 3, False)), ("a", 1)),
            (2, (("a", 5, True), ("b", 2, True), ("c", 1, False)), ("c", 1)),
            (4, (("a", 5, True), ("a", 3, True), ("a", 9, False), ("b", 1, True)), ("a", 3)),
            (4, (("a", 5, True), ("a", 3, True), ("a", 2, False), ("b", 1, True)), ("a", 2)),
            (4, (("a", 5, True), ("a", 3, True), ("a", 2, False), ("b", 1, True), ("c", 4, True)), ("b", 1)),
        ):
            self.assertEqual(self.choose(limit, *readers), expected, (limit, readers))


class SlowReadersTests(SynchronousTestCase):
    """The account of one server's paused responses."""

    def setUp(self) -> None:
        self.readers = SlowReaders()

    def pause(self, client: str, limit: int = 2) -> Response:
        response = Response(client)
        self.parked = self.readers.pause(response, limit)
        return response

    def test_parked_and_not(self) -> None:
        """A paused response gives its slot back once, and takes one again when its client goes on."""
        response = self.pause("a")
        self.assertTrue(self.parked)
        self.assertFalse(self.readers.pause(response, 2))
        self.assertEqual(self.readers.parked, 1)
        self.assertTrue(self.readers.resume(response))
        self.assertFalse(self.readers.resume(response))
        self.assertFalse(self.readers.end(response))
        self.assertEqual((self.readers.parked, self.readers.accounts), (0, {}))

    def test_response_that_was_never_paused_is_ignored(self) -> None:
        """A response that was never paused is none of its business."""
        response = Response()
        self.assertEqual((self.readers.resume(response), self.readers.end(response)), (False, False))

    def test_ended_while_parked(self) -> None:
        """The place of a parked response that ends is free for one that had to keep its slot."""
        first = self.pause("a")
        second = self.pause("a")
        self.assertFalse(self.parked)
        self.assertEqual(self.readers.park_more(2), [])
        self.assertTrue(self.readers.end(first))
        self.assertEqual(self.readers.park_more(2), [second])
        self.assertTrue(self.readers.end(second))

    def test_the_slowest(self) -> None:
        """What counts is what a client took in the last seconds, not what it took before."""
        idle, slow = self.pause("a"), self.pause("b")
        idle.bytes = 10**9
        for _ in range(SPAN_S):
            self.readers.sample()
            slow.bytes += 1000
        self.assertIs(self.readers.slowest(2), None)
        new = self.pause("c")
        new.bytes = 5000
        self.assertIs(self.readers.slowest(2), idle)
        self.readers.end(idle)
        self.assertEqual(self.readers.park_more(2), [new])
        self.assertIs(self.readers.slowest(2), None)

    def test_who_goes_on_is_not_given_up(self) -> None:
        """A client that reads at the moment is not among those that are compared."""
        first, second = self.pause("a", limit=1), self.pause("b", limit=1)
        second.bytes = 10
        self.assertIs(self.readers.slowest(1), first)
        self.readers.resume(first)
        self.assertIs(self.readers.slowest(1), second)
