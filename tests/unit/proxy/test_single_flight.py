"""Tests of single flight: identical reads under way are fetched once, and none of their clients suffers from another one."""

from __future__ import annotations

import gzip
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.model import Headers
from mpp.proxy.exchanges.exchange import Exchange
from tests.forward_support import A, B, FakeDownstream, FakeResponse, World

TIMED_OUT = b'{"status":"error","errorType":"timeout","error":"query timed out"}'


class SingleFlightCase(SynchronousTestCase):
    """Several clients that ask for the same."""

    def setUp(self) -> None:
        self.use()

    def use(self, **settings: Any) -> None:
        """Begin with other settings."""
        self.world = World(**{"no_single_flight": False, "selected": (A, B), "standbys": (), **settings})

    def requests(self, count: int, headers: Headers = ()) -> list[tuple[FakeDownstream, Exchange]]:
        """Begin identical requests."""
        return [(self.world.request(headers=headers), self.world.exchange) for _ in range(count)]

    def bodies(self, clients: list[tuple[FakeDownstream, Exchange]]) -> list[bytes]:
        """Return the bodies that were delivered."""
        return [b"".join(client.delivered.buffered) if client.delivered else b"" for client, _ in clients]

    @property
    def sent(self) -> int:
        """The number of requests that servers have got."""
        return len(self.world.upstreams.sent)

    def answer(self, number: int = -1, status: int = 200, body: bytes = b"result", headers: Headers = (), **how: bool) -> None:
        """Answer a request that was sent."""
        self.world.upstreams.sent[number].answer.callback(FakeResponse(status, body, headers, **how))


class SharedTests(SingleFlightCase):
    """One query answers all who ask for it at the same time."""

    def test_a_hundred_clients_cost_one_query(self) -> None:
        """All get the bytes."""
        clients = self.requests(100)
        self.assertEqual(self.sent, 1)
        self.answer()
        self.assertEqual(self.bodies(clients), [b"result"] * 100)
        self.assertEqual(self.world.counted("mpp_shared_requests_total"), 99)
        for client, _ in clients:
            client.ended(None)
        self.assertEqual(self.world.metrics.in_flight, 0)

    def test_a_later_request_is_a_new_query(self) -> None:
        """Nothing is kept after the response."""
        self.requests(2)
        self.answer()
        self.requests(2)
        self.assertEqual(self.sent, 2)

    def test_it_can_be_switched_off(self) -> None:
        """Each request is then sent for itself."""
        self.use(no_single_flight=True)
        self.requests(3)
        self.assertEqual(self.sent, 3)

    def test_requests_of_one_size(self) -> None:
        """They share a query only if they are identical, and those that are never shared do not keep others from it."""
        live, one, other = b"/api/v1/targets?abc=def", b"/api/v1/query?query=abc", b"/api/v1/query?query=xyz"
        private = b"/federate?match[]=abcde"
        self.assertEqual({len(live), len(one), len(other), len(private)}, {23})
        for number, target in enumerate((private, one, other, private, live)):
            self.world.request(target=target)
            self.assertEqual(self.sent, number + 1)
        for target in (one, other, live):
            self.world.request(target=target)
        self.assertEqual(self.sent, 5)
        self.answer(0)
        self.answer(2)
        self.world.request(target=one)
        self.assertEqual(self.sent, 5)
        self.world.request(target=other)
        self.assertEqual(self.sent, 6)
        for number in (1, 3, 4, 5):
            self.answer(number)
        self.world.request(target=one)
        self.assertEqual(self.sent, 7)

    def test_users_do_not_share(self) -> None:
        """Each is asked for with its own credentials."""
        self.requests(1, ((b"Authorization", b"Basic YTph"),))
        self.requests(1, ((b"Authorization", b"Basic Yjpi"),))
        self.assertEqual(self.sent, 2)

    def test_an_error_of_the_query_is_for_all(self) -> None:
        """It would be the same for each."""
        clients = self.requests(3)
        self.answer(status=422, body=b"too many samples")
        self.assertEqual(self.bodies(clients), [b"too many samples"] * 3)

    def test_a_client_with_a_server_of_its_own_keeps_it(self) -> None:
        """A shared response sets no cookie for a client that another server has served."""
        first, _ = self.requests(1)[0]
        asked = self.world.upstreams.sent[0].backend
        other = B if asked == A else A
        second, _ = self.requests(1, ((b"Cookie", b"MPP.Route=" + other.route),))[0]
        third, _ = self.requests(1)[0]
        self.answer()
        self.assertEqual([len(each.cookies) for each in (first, second, third)], [1, 0, 1])

    def test_the_memory_is_released_with_the_last_client(self) -> None:
        """A slow client keeps the bytes alive."""
        clients = self.requests(2)
        released: list[bool] = []
        response = FakeResponse(200, b"result")
        response.release = lambda: released.append(True)  # type: ignore[method-assign]
        self.world.upstreams.sent[0].answer.callback(response)
        for number, (client, _) in enumerate(clients):
            self.assertEqual(released, [])
            assert client.delivered is not None, number
            client.delivered.release()
            client.delivered.release()
        self.assertEqual(released, [True])


class LeavingTests(SingleFlightCase):
    """Clients that disconnect, and servers that die, cost the others nothing."""

    def test_the_first_client_hangs_up(self) -> None:
        """The others get the response to its query."""
        clients = self.requests(3)
        clients[0][1].client_gone()
        self.answer()
        self.assertEqual((self.sent, self.bodies(clients)), (1, [b"", b"result", b"result"]))

    def test_all_clients_hang_up(self) -> None:
        """The query is cancelled with the last one, and a later request is a new query."""
        clients = self.requests(2)
        clients[0][1].client_gone()
        self.assertFalse(self.world.upstreams.sent[0].answer.called)
        clients[1][1].client_gone()
        self.assertTrue(self.world.upstreams.sent[0].answer.called)
        self.requests(1)
        self.assertEqual((self.sent, self.world.metrics.in_flight), (2, 1))

    def test_a_server_that_dies_is_replaced_once_for_all(self) -> None:
        """One retry, for all of them."""
        clients = self.requests(3)
        self.world.upstreams.sent[0].answer.errback(UpstreamError(Phase.HEAD, Cause.RESET))
        self.assertEqual(self.sent, 2)
        self.answer()
        self.assertEqual(self.bodies(clients), [b"result"] * 3)

    def test_no_server_answers(self) -> None:
        """All get the error."""
        self.use(selected=(A,), retries=0)
        clients = self.requests(3)
        self.world.upstreams.sent[0].answer.errback(UpstreamError(Phase.CONNECT, Cause.REFUSED))
        self.assertEqual([client.failed and client.failed[0] for client, _ in clients], [503] * 3)
        self.assertEqual(self.world.metrics.in_flight, 0)

    def test_a_bug_in_one_client_leaves_the_others_alone(self) -> None:
        """It is logged, and that client is reset."""
        clients = self.requests(3)

        def broken(*args: object) -> None:
            raise ZeroDivisionError

        clients[0][0].deliver = broken  # type: ignore[method-assign]
        self.answer()
        self.assertEqual((clients[0][0].aborted, self.bodies(clients)[1:]), (True, [b"result"] * 2))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class NotSharedTests(SingleFlightCase):
    """A response that is not for all goes to the first client, and the others are asked for."""

    def test_a_response_that_outgrows_the_buffer(self) -> None:
        """It cannot be given to several clients at their own pace."""
        clients = self.requests(3)
        self.answer(complete=False)
        self.assertEqual((self.sent, self.bodies(clients)), (3, [b"result", b"", b""]))
        for number in (1, 2):
            self.answer(number, body=b"own")
        self.assertEqual(self.bodies(clients)[1:], [b"own"] * 2)

    def test_a_response_that_no_cache_may_store(self) -> None:
        """Its server does not want it to be given to another client."""
        for value in (b"no-store", b"private"):
            self.use()
            clients = self.requests(3)
            self.answer(headers=((b"Cache-Control", value),))
            self.assertEqual((self.sent, self.bodies(clients)), (3, [b"result", b"", b""]))

    def test_rejected_credentials(self) -> None:
        """They are not a response for another client."""
        self.use(retries=0)
        clients = self.requests(2)
        self.answer(status=403, body=b"forbidden")
        self.answer(status=403, body=b"forbidden, too")
        self.assertEqual((self.sent, self.bodies(clients)), (2, [b"forbidden", b"forbidden, too"]))

    def test_a_timeout_of_the_server_ends_the_first_client_only(self) -> None:
        """The others have waited for a shorter time; they are fetched again, together."""
        for body, headers in ((TIMED_OUT, ()), (gzip.compress(TIMED_OUT), ((b"Content-Encoding", b"gzip"),))):
            self.use(retries=0)
            accepted = ((b"Accept-Encoding", b"gzip"),)
            first = self.requests(1, accepted)
            self.world.clock.advance(1)
            others = self.requests(2, accepted)
            self.answer(status=503, body=body, headers=headers)
            self.assertEqual((self.sent, self.bodies(first + others)), (2, [body, b"", b""]))
            self.answer()
            self.assertEqual(self.bodies(others), [b"result"] * 2)

    def test_a_timeout_of_a_client_that_has_left_ends_no_other(self) -> None:
        """A later client waits as long as it would wait alone, also if it is the only one that is left."""
        self.use(retries=0)
        ((_, first),) = self.requests(1)
        self.world.clock.advance(1)
        others = self.requests(1)
        first.client_gone()
        self.answer(status=503, body=TIMED_OUT)
        self.assertEqual((self.sent, self.bodies(others)), (2, [b""]))
        self.answer()
        self.assertEqual(self.bodies(others), [b"result"])

    def test_a_client_outlives_the_deadline_of_one_that_has_left(self) -> None:
        """The deadline of the fetch is that of its first client."""
        self.use(request_timeout=10.0, suspect_after=30.0)
        ((_, first),) = self.requests(1)
        self.world.clock.pump([1.0] * 6)
        ((second, _),) = self.requests(1)
        first.client_gone()
        self.world.clock.pump([1.0] * 8)
        self.assertEqual((self.sent, second.failed), (2, None))
        self.world.clock.pump([1.0] * 6)
        self.assertEqual(second.failed and second.failed[0], 504)

    def test_a_coding_that_only_the_first_client_accepts(self) -> None:
        """A proxy in front of the server has chosen it."""
        clients = self.requests(1, ((b"Accept-Encoding", b"br, gzip"),)) + self.requests(1, ((b"Accept-Encoding", b"gzip"),))
        self.assertEqual(self.sent, 1)
        self.answer(body=b"brotli", headers=((b"Content-Encoding", b"br"), (b"Vary", b"Accept-Encoding")))
        self.assertEqual((self.sent, self.bodies(clients)), (2, [b"brotli", b""]))

    def test_each_client_has_its_own_deadline(self) -> None:
        """A later client waits as long as it would wait alone."""
        self.use(request_timeout=10.0, suspect_after=30.0)
        first, _ = self.requests(1)[0]
        self.world.clock.pump([1.0] * 6)
        second, _ = self.requests(1)[0]
        self.assertEqual(self.sent, 1)
        self.world.clock.pump([1.0] * 30)
        self.assertEqual((first.failed and first.failed[0], self.sent), (504, 2))
        self.assertEqual(second.failed and second.failed[0], 504)
        self.assertEqual(self.world.metrics.in_flight, 0)
