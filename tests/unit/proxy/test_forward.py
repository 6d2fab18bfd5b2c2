"""One client request: where it goes, where it goes next, and what the client gets."""

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.interfaces import IDownstream, IResponse, ISelections, IUpstreams
from mpp.core.model import Choice, Headers, Observation, RequestInfo, Selection, Standing
from mpp.proxy.attempts import SELECTION_WAIT_S
from mpp.proxy.exchanges.server_fetch import ServerFetch
from tests.forward_support import A, B, FakeResponse, World

REFUSED = UpstreamError(Phase.CONNECT, Cause.REFUSED)
RESET = UpstreamError(Phase.HEAD, Cause.RESET)
TRUNCATED = UpstreamError(Phase.BODY, Cause.CLOSED)
STALE = UpstreamError(Phase.HEAD, Cause.CLOSED, stale=True)
NOT_READY = FakeResponse(503, b"Service Unavailable")


class StandInTests(SynchronousTestCase):
    """The stand-ins are what they stand in for."""

    def test_stand_ins_provide_the_real_interfaces(self) -> None:
        """What these tests prove holds for the real things."""
        world = World()
        for interface, thing in (
            (IUpstreams, world.upstreams),
            (ISelections, world.selections),
            (IResponse, FakeResponse(200)),
            (IDownstream, world.request()),
        ):
            self.assertTrue(verifyObject(interface, thing))


class ForwardTests(SynchronousTestCase):
    """When nothing goes wrong."""

    def test_answer_is_delivered_with_the_backend_that_gave_it(self) -> None:
        """A client gets the selected backend's answer, and it is counted once."""
        world = World()
        client = world.request()
        response = FakeResponse(200, b"{}")
        world.upstreams.sent[0].answer.callback(response)
        self.assertEqual((client.delivered, client.served_by), (response, A))
        self.assertEqual(world.metrics.in_flight, 1)
        client.ended(None)
        self.assertEqual(world.metrics.in_flight, 0)
        self.assertEqual(world.counted("mpp_requests_total", backend="a:9090", code="200"), 1)

    def test_reads_may_use_kept_connections_and_writes_may_not(self) -> None:
        """A write is sent on a connection that cannot be stale."""
        world = World()
        world.request()
        world.request(b"POST", b"/api/v1/query")
        world.request(b"POST", b"/somewhere")
        self.assertEqual([sent.fresh for sent in world.upstreams.sent], [False, False, True])

    def test_query_errors_are_the_clients(self) -> None:
        """What is wrong with the query is told to the client, untouched, and held against nobody."""
        world = World()
        client = world.request()
        response = FakeResponse(400, b'{"status":"error","errorType":"bad_data","error":"parse error"}')
        world.upstreams.sent[0].answer.callback(response)
        self.assertIs(client.delivered, response)
        self.assertEqual(world.selections.reports, [])

    def test_client_with_a_cookie_is_kept_on_its_backend(self) -> None:
        """Affinity decides among the selected backends, and is counted."""
        world = World(selected=(A, B), standbys=())
        headers: Headers = ((b"Cookie", b"MPP.Route=" + B.id.encode()),)
        for _ in range(5):
            world.request(headers=headers)
        self.assertEqual(world.upstreams.backends, [B] * 5)
        world.upstreams.sent[0].answer.callback(FakeResponse(200))
        self.assertEqual(world.counted("mpp_affinity_hits_total", type="cookies"), 1)


class FirstRoundTests(SynchronousTestCase):
    """Requests that come before anything is known."""

    def test_request_waits_for_the_first_selection(self) -> None:
        """A client that comes too early is served as soon as a backend is known."""
        world = World(selected=(), standbys=())
        world.request()
        self.assertEqual(world.upstreams.sent, [])
        world.selections.publish(Selection(1, Choice((A,))))
        self.assertEqual(world.upstreams.backends, [A])

    def test_the_wait_is_bounded(self) -> None:
        """A client is not kept waiting for a selection that does not come."""
        world = World(selected=(), standbys=())
        client = world.request()
        world.clock.advance(SELECTION_WAIT_S)
        assert client.failed is not None
        self.assertEqual(client.failed[0], 503)
        self.assertEqual(client.failed[2], 5)

    def test_client_that_leaves_while_waiting_is_forgotten(self) -> None:
        """Nothing is sent for a client that is not there any more."""
        world = World(selected=(), standbys=())
        client = world.request()
        world.exchange.client_gone()
        world.clock.advance(SELECTION_WAIT_S)
        self.assertEqual((world.upstreams.sent, client.failed, world.metrics.in_flight), ([], None, 0))


class RetryTests(SynchronousTestCase):
    """When a backend fails."""

    def test_a_failed_read_goes_to_the_next_backend_at_once(self) -> None:
        """The death of a server is invisible: the next one answers, the first is reported and counted."""
        world = World()
        client = world.request()
        world.upstreams.sent[0].answer.errback(REFUSED)
        self.assertEqual(world.upstreams.backends, [A, B])
        self.assertEqual(world.selections.waiting, [])
        world.upstreams.sent[1].answer.callback(FakeResponse(200))
        self.assertEqual(client.served_by, B)
        self.assertEqual(world.selections.reports, [(A, Standing.DOWN)])
        self.assertEqual(world.counted("mpp_retries_total", backend="a:9090", reason="refused"), 1)

    def test_the_cookie_names_the_server_that_answered(self) -> None:
        """A client that would have a choice is kept on the server that answered, not on the one that failed."""
        world = World(selected=(A, B), standbys=())
        client = world.request()
        world.upstreams.sent[0].answer.errback(REFUSED)
        world.upstreams.sent[1].answer.callback(FakeResponse(200))
        self.assertIn(world.upstreams.backends[1].id.encode(), client.cookies[0])

    def test_an_answer_that_blames_the_server_goes_to_the_next_backend(self) -> None:
        """A server that is starting or stopping is passed over."""
        world = World()
        client = world.request()
        world.upstreams.sent[0].answer.callback(NOT_READY)
        world.upstreams.sent[1].answer.callback(FakeResponse(200))
        self.assertEqual((client.served_by, world.selections.reports), (B, [(A, Standing.NOT_READY)]))

    def test_a_truncated_answer_is_asked_for_again_elsewhere(self) -> None:
        """A server that dies in mid-answer is invisible as long as nothing of it went out."""
        world = World()
        client = world.request()
        world.upstreams.sent[0].answer.errback(TRUNCATED)
        world.upstreams.sent[1].answer.callback(FakeResponse(200))
        self.assertEqual(client.served_by, B)
        self.assertEqual(world.counted("mpp_retries_total", backend="a:9090", reason="truncated_closed"), 1)

    def test_stale_connection_is_replaced_and_not_counted(self) -> None:
        """A kept connection that turns out dead costs no retry and nobody's standing."""
        world = World(retries=0)
        world.request()
        world.upstreams.sent[0].answer.errback(STALE)
        self.assertEqual([(s.backend, s.fresh) for s in world.upstreams.sent], [(A, False), (A, True)])
        self.assertEqual(
            (world.selections.reports, world.counted("mpp_retries_total", backend="a:9090", reason="closed")), ([], 0)
        )

    def test_number_of_attempts_is_bounded(self) -> None:
        """With the default of two retries a request reaches three backends at most."""
        world = World()
        client = world.request()
        for n in range(3):
            world.upstreams.sent[n].answer.errback(REFUSED)
        assert client.failed is not None
        self.assertEqual((len(world.upstreams.sent), client.failed[0], client.failed[2]), (3, 503, 5))
        self.assertEqual(world.counted("mpp_requests_total", backend="mpp", code="503"), 1)

    def test_no_third_server_is_given_a_request_that_killed_two(self) -> None:
        """A deadly query does not take the whole cluster down."""
        world = World()
        client = world.request()
        world.upstreams.sent[0].answer.errback(RESET)
        world.upstreams.sent[1].answer.errback(RESET)
        assert client.failed is not None
        self.assertEqual((len(world.upstreams.sent), client.failed[0]), (2, 502))

    def test_a_kept_connection_that_broke_is_a_crash_when_the_server_is_gone(self) -> None:
        """A deadly query is recognized on kept connections, too."""
        world = World()
        client = world.request()
        for n, error in enumerate((STALE, REFUSED, STALE, REFUSED)):
            world.upstreams.sent[n].answer.errback(error)
        assert client.failed is not None
        self.assertEqual((world.upstreams.backends, client.failed[0]), ([A, A, B, B], 502))

    def test_answer_of_a_server_that_was_not_expected_to_answer(self) -> None:
        """An answer of the API from a server out of service is reported with the server that failed; another page is not."""
        success = b'{"status":"success","data":[]}'
        for standing, body, fault, rescues in (
            (Standing.NOT_READY, success, FakeResponse(500), [(A, B)]),
            (Standing.DOWN, success, RESET, [(A, B)]),
            (Standing.NOT_READY, b"<html>Log in</html>", FakeResponse(500), []),
            (Standing.VIABLE, success, FakeResponse(500), []),
            (Standing.NOT_READY, success, FakeResponse(429), []),
        ):
            world = World(standbys=(B,))
            seen = (Observation(A, Standing.VIABLE), Observation(B, standing))
            world.selections.current = Selection(1, Choice((A,), (B,)), seen)
            client = world.request()
            answer = world.upstreams.sent[0].answer
            if isinstance(fault, FakeResponse):
                answer.callback(fault)
            else:
                answer.errback(fault)
            world.upstreams.sent[1].answer.callback(FakeResponse(200, body))
            self.assertEqual((client.served_by, world.selections.rescues), (B, rescues))

    def test_last_servers_own_words_are_passed_on(self) -> None:
        """When all servers have the same trouble, the client sees it in Prometheus' words."""
        world = World(standbys=(B,))
        client = world.request()
        error = FakeResponse(500, b'{"status":"error","errorType":"internal","error":"disk"}')
        world.upstreams.sent[0].answer.callback(FakeResponse(500, error.buffered[0]))
        world.upstreams.sent[1].answer.callback(error)
        self.assertIs(client.delivered, error)


class WriteTests(SynchronousTestCase):
    """Requests that may change something."""

    def test_a_write_that_may_have_run_is_not_repeated(self) -> None:
        """What happened to a write is told, not guessed."""
        world = World()
        client = world.request(b"POST", b"/x")
        world.upstreams.sent[0].answer.errback(RESET)
        assert client.failed is not None
        self.assertEqual((len(world.upstreams.sent), client.failed[0]), (1, 502))
        self.assertIn("not repeated", client.failed[1])

    def test_a_write_that_was_not_sent_goes_elsewhere(self) -> None:
        """A server that is not there costs no write."""
        world = World()
        world.request(b"POST", b"/x")
        world.upstreams.sent[0].answer.errback(REFUSED)
        self.assertEqual([(s.backend, s.fresh) for s in world.upstreams.sent], [(A, True), (B, True)])

    def test_a_write_that_nobody_took_was_not_carried_out(self) -> None:
        """A client whose write reached nobody is told to come back, not that it may have happened."""
        world = World()
        client = world.request(b"POST", b"/x")
        for n in range(3):
            world.upstreams.sent[n].answer.errback(REFUSED)
        assert client.failed is not None
        self.assertEqual((client.failed[0], client.failed[2]), (503, 5))

    def test_any_answer_to_a_write_is_an_answer(self) -> None:
        """A write gets the server's words, whatever they are."""
        world = World()
        client = world.request(b"POST", b"/x")
        world.upstreams.sent[0].answer.callback(NOT_READY)
        self.assertIs(client.delivered, NOT_READY)


class RenewedSelectionTests(SynchronousTestCase):
    """When all known backends have failed a request."""

    def test_request_waits_for_a_fresh_look_and_tries_whom_it_finds(self) -> None:
        """A server that restarts is found again within the same request."""
        world = World(standbys=())
        client = world.request()
        world.upstreams.sent[0].answer.errback(REFUSED)
        self.assertEqual(len(world.selections.waiting), 1)
        world.selections.publish(Selection(2, Choice((A,))))
        world.upstreams.sent[1].answer.callback(FakeResponse(200))
        self.assertEqual(client.served_by, A)

    def test_request_fails_when_nobody_is_found(self) -> None:
        """When there is nobody, the client is told so, and when to come back; no retry is counted, for there was none."""
        world = World(standbys=())
        client = world.request()
        world.upstreams.sent[0].answer.errback(REFUSED)
        world.selections.publish(Selection(2, Choice((), (A,))))
        self.assertEqual(world.counted("mpp_retries_total", backend="a:9090", reason="refused"), 0)
        assert client.failed is not None
        self.assertEqual((client.failed[0], client.failed[2]), (503, 5))

    def test_a_fresh_look_is_waited_for_once(self) -> None:
        """A request does not wait for ever for a cluster that does not come back."""
        world = World(standbys=())
        client = world.request()
        world.upstreams.sent[0].answer.errback(REFUSED)
        world.selections.publish(Selection(2, Choice((A,))))
        world.upstreams.sent[1].answer.errback(REFUSED)
        self.assertIsNotNone(client.failed)
        self.assertEqual(world.selections.waiting, [])


class ClientGoneTests(SynchronousTestCase):
    """When the client hangs up."""

    def test_upstream_request_is_cancelled_and_nobody_blamed(self) -> None:
        """A server stops working on a query that nobody waits for, and keeps its standing."""
        world = World()
        client = world.request()
        world.exchange.client_gone()
        self.assertEqual((world.upstreams.cancelled, world.selections.reports, len(world.upstreams.sent)), ([A], [], 1))
        self.assertEqual((client.failed, world.metrics.in_flight), (None, 0))
        self.assertEqual(world.counted("mpp_requests_total", backend="a:9090", code="499"), 1)

    def test_an_answer_on_its_way_is_cancelled(self) -> None:
        """An answer that nobody reads any more is not read from the server either."""
        world = World()
        client = world.request()
        response = FakeResponse(200)
        world.upstreams.sent[0].answer.callback(response)
        world.exchange.client_gone()
        client.ended(ConnectionError())
        self.assertTrue(response.cancelled)
        self.assertEqual((world.metrics.in_flight, world.selections.reports), (0, []))

    def test_after_the_end_nothing_happens(self) -> None:
        """A connection that closes after its answer is counted once."""
        world = World()
        client = world.request()
        world.upstreams.sent[0].answer.callback(FakeResponse(200))
        client.ended(None)
        world.exchange.client_gone()
        self.assertEqual(world.metrics.in_flight, 0)


class BrokenOffTests(SynchronousTestCase):
    """When a server dies after its first bytes went out."""

    def test_truncation_is_counted_and_the_server_suspect(self) -> None:
        """An operator sees answers that broke off; the server is checked."""
        world = World()
        client = world.request()
        world.upstreams.sent[0].answer.callback(FakeResponse(200, complete=False))
        client.ended(TRUNCATED)
        self.assertEqual(world.counted("mpp_truncated_responses_total", backend="a:9090", reason="closed"), 1)
        self.assertEqual((world.selections.reports, world.metrics.in_flight), ([(A, Standing.SUSPECT)], 0))


class BugTests(SynchronousTestCase):
    """When mpp itself has a bug."""

    def test_client_gets_an_error_and_the_log_a_traceback(self) -> None:
        """No bug leaves a client hanging."""
        world = World()
        client = world.request()
        world.upstreams.sent[0].answer.errback(Failure(ZeroDivisionError()))
        assert client.failed is not None
        self.assertEqual((client.failed[0], world.metrics.in_flight), (500, 0))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_bug_while_choosing(self) -> None:
        """A bug before anything was sent is answered, too."""
        world = World()

        def broken(*args: object, **keywords: object) -> None:
            raise ZeroDivisionError

        world.upstreams.send = broken  # type: ignore[method-assign, assignment]
        client = world.request()
        assert client.failed is not None
        self.assertEqual((client.failed[0], world.metrics.in_flight), (500, 0))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_bug_in_a_fetch_that_has_ended(self) -> None:
        """No client waits for it any longer, and the log has it."""
        world = World()
        fetch = ServerFetch(world.forwarder.context, RequestInfo(b"GET", b"/api/v1/query?query=up", ()), 0.0)
        fetch.cancel()
        fetch.ended = True
        fetch.failed(Failure(ZeroDivisionError()))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_cancellation_that_nobody_asked_for_is_a_bug(self) -> None:
        """A cancelled attempt whose client is still there is answered."""
        world = World()
        client = world.request()
        world.upstreams.sent[0].answer.errback(Failure(CancelledError()))
        self.assertIsNotNone(client.failed)
        self.assertEqual(len(self.flushLoggedErrors(CancelledError)), 1)

    def test_a_bug_after_the_first_bytes_resets_the_client(self) -> None:
        """No bug puts an error page behind half an answer."""
        world = World()
        client = world.request()

        def broken(*args: object) -> None:
            raise ZeroDivisionError

        client.deliver = broken  # type: ignore[method-assign]
        world.upstreams.sent[0].answer.callback(FakeResponse(200))
        self.assertEqual((client.failed, client.aborted, world.metrics.in_flight), (None, True, 0))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
