"""Tests of `mpp.wire.memory_budget`: who holds how much memory, and who gives way."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.wire.memory_budget import BufferedRequest, MemoryBudget


class Upload:
    """A request that arrives at a rate that the test says."""

    def __init__(self, budget: MemoryBudget, client: str, per_second: float = 0.0) -> None:
        self.budget = budget
        self.client = client
        self.per_second = per_second
        self.holding = BufferedRequest(client)
        self.gave_way = False

    def rate(self, now: float) -> float:
        return self.per_second

    def hold(self, size: int, *, whole: bool = False) -> bool:
        return self.budget.buffer(self, self.holding, size, whole=whole)

    def begin(self) -> None:
        """Have it answered: it cannot give way any more."""
        self.budget.depart(self)

    def give_way(self) -> None:
        self.gave_way = True
        self.budget.release(self.holding)
        self.budget.depart(self)


class BudgetTests(SynchronousTestCase):
    """A thousand bytes for several clients."""

    def setUp(self) -> None:
        self.budget = MemoryBudget(1000, Clock().seconds)

    def upload(self, client: str, size: int, per_second: float = 0.0) -> Upload:
        upload = Upload(self.budget, client, per_second)
        self.assertTrue(upload.hold(size))
        return upload

    def gave_way(self, *uploads: Upload) -> list[bool]:
        return [upload.gave_way for upload in uploads]

    def test_buffered_bytes_count_until_released(self) -> None:
        """What is held counts until it is released, on the account of its client."""
        one, two = self.upload("a", 100), self.upload("a", 50)
        one.hold(120)
        self.assertEqual(
            (self.budget.buffered, self.budget.buffered_by("a"), repr(self.budget)), (170, 170, "<Budget 170 of 1000>")
        )
        one.hold(20)
        self.budget.release(two.holding)
        self.budget.release(two.holding)
        self.assertEqual((self.budget.buffered, self.budget.buffered_by("a")), (20, 20))

    def test_to_the_byte(self) -> None:
        """All of it may be used; nobody gives way before more than that is needed."""
        uploads = [self.upload(client, size) for client, size in (("a", 500), ("b", 499), ("c", 1))]
        self.assertEqual((self.budget.buffered, self.gave_way(*uploads)), (1000, [False] * 3))

    def test_slowest_gives_way(self) -> None:
        """When it is used up those that move least give way to one that arrives, until there is room."""
        slow, slower, fast = self.upload("a", 400, 20.0), self.upload("b", 300, 10.0), self.upload("c", 300, 1000.0)
        self.upload("d", 10, 500.0)
        self.assertEqual(self.gave_way(slow, slower, fast), [False, True, False])
        self.upload("e", 400, 500.0)
        self.assertEqual(self.gave_way(slow, slower, fast), [True, True, False])
        self.assertEqual(self.budget.buffered, 300 + 10 + 400)

    def test_slowest_is_the_one_that_arrives(self) -> None:
        """One that is slower than all others displaces none of them; it is refused, and keeps what it has until it is told."""
        others = [self.upload("a", 400, 20.0), self.upload("b", 300, 10.0), self.upload("c", 290, 10.0)]
        slowest = self.upload("d", 10, 1.0)
        self.assertFalse(slowest.hold(20))
        self.assertEqual((self.gave_way(*others, slowest), slowest.holding.size), ([False] * 4, 10))

    def test_complete_request_displaces_incomplete_ones(self) -> None:
        """One that is whole displaces whichever is not."""
        fast = [self.upload(client, 500, 1e9) for client in "ab"]
        self.assertTrue(Upload(self.budget, "c").hold(100, whole=True))
        self.assertEqual(self.gave_way(*fast), [True, False])

    def test_request_in_progress_is_not_displaced(self) -> None:
        """What is being answered does not give way: a server may be at work on it."""
        begun = [self.upload("a", 500), self.upload("b", 500)]
        for each in begun:
            each.begin()
        self.assertFalse(Upload(self.budget, "c", 1e9).hold(1))
        self.assertEqual(self.gave_way(*begun), [False, False])

    def test_one_client_gets_half_at_most(self) -> None:
        """One client holds half at most: beyond that its own requests give way, and nobody else's."""
        others = [self.upload("b", 100), self.upload("c", 100)]
        own = [self.upload("a", 200, 1.0), self.upload("a", 300, 2.0)]
        self.assertTrue(Upload(self.budget, "a", 50.0).hold(100))
        self.assertEqual((self.gave_way(*own), self.gave_way(*others)), ([True, False], [False, False]))
        self.assertEqual(self.budget.buffered_by("a"), 400)

    def test_more_than_a_share(self) -> None:
        """A single request that is larger than that is refused, at the cost of the client's own."""
        other, own = self.upload("b", 400), self.upload("a", 100)
        self.assertFalse(Upload(self.budget, "a", 50.0).hold(501))
        self.assertEqual(self.gave_way(other, own), [False, True])

    def test_bytes_of_a_proxy_move_to_its_client(self) -> None:
        """What was held for a proxy is held for its client when it is known who that is."""
        upload = self.upload("proxy", 100)
        self.budget.reassign(upload.holding, "a")
        self.assertEqual((self.budget.buffered_by("proxy"), self.budget.buffered_by("a"), self.budget.buffered), (0, 100, 100))
        self.budget.release(upload.holding)
        self.assertEqual((self.budget.buffered_by("a"), self.budget.buffered), (0, 0))

    def test_responses_get_half_at_most(self) -> None:
        """Responses get half at most, and none gives way to them."""
        self.assertTrue(self.budget.take(500))
        self.assertFalse(self.budget.take(1))
        self.budget.give(400)
        upload = self.upload("a", 500)
        other = self.upload("b", 390)
        self.assertTrue(self.budget.take(10))
        self.assertFalse(self.budget.take(1))
        self.assertEqual(self.gave_way(upload, other), [False, False])

    def test_bytes_in_memory_count_beyond_the_limit(self) -> None:
        """What is in memory already is counted even when it passes the limit."""
        self.budget.overdraw(1005)
        self.assertFalse(self.budget.take(1))
        self.assertEqual(self.budget.buffered, 1005)
        self.budget.give(1005)
        self.assertEqual(self.budget.buffered, 0)

    def test_more_than_needed_is_freed(self) -> None:
        """Something is freed beyond what is needed, so that not all are looked at for each segment that arrives."""
        uploads = [self.upload(str(number), 5, float(number)) for number in range(200)]
        self.upload("a", 1, 500.0)
        self.assertEqual(self.gave_way(*uploads), [True] * 4 + [False] * 196)
