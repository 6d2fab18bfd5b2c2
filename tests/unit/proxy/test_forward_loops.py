"""Requests that have come back to the mpp that sent them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Choice, Selection
from tests.forward_support import INSTANCE, A, B, FakeResponse, World

OWN = ((b"mpp-instance", b"aaa, " + INSTANCE.token.encode()),)
LOOP = b'{"status":"error","errorType":"loop","error":"this request has come back to the mpp that sent it (fedcba9876543210)"}'


class LoopTests(SynchronousTestCase):
    """What becomes of them."""

    def test_own_request(self) -> None:
        """A request of its own gets 508 at once, with the token by which the sender knows it; nothing is sent."""
        for world in (World(), World(selected=(), standbys=())):
            client = world.request(headers=OWN)
            assert client.failed is not None
            status, message, _ = client.failed
            self.assertEqual((status, INSTANCE.token in message), (508, True))
            self.assertEqual((world.upstreams.sent, world.selections.waiting, world.exchange.ended), ([], [], True))
            self.assertEqual(world.counted("mpp_requests_total", backend="mpp", code="508"), 1)

    def test_request_of_another_mpp(self) -> None:
        """A request that has passed another mpp is forwarded, with both tokens."""
        world = World()
        world.request(headers=((b"MPP-Instance", b"aaa"),))
        self.assertIn(b"\r\nMPP-Instance: aaa, %b\r\n" % INSTANCE.token.encode(), world.upstreams.sent[0].head)

    def test_server_that_sends_it_back(self) -> None:
        """When a server is another mpp that sends the request back, the next server is asked; without one there is no 508."""
        world = World(selected=(A,), standbys=(B,))
        client = world.request()
        world.upstreams.sent[0].answer.callback(FakeResponse(508, LOOP))
        world.upstreams.sent[1].answer.callback(FakeResponse(200))
        self.assertEqual(client.served_by, B)
        world = World(selected=(A,), standbys=())
        client = world.request()
        world.upstreams.sent[0].answer.callback(FakeResponse(508, LOOP))
        world.selections.publish(Selection(2, Choice()))
        assert client.failed is not None
        self.assertEqual(client.failed[0], 503)

    def test_own_request_while_its_response_is_awaited(self) -> None:
        """It gets 508 at once instead of waiting for the response to itself, and the next server is asked."""
        for target in (b"/api/v1/labels", b"/api/v1/query?query=up&timeout=10s"):
            world = World(selected=(A,), standbys=(B,), no_single_flight=False)
            client = world.request(target=target)
            back = world.request(target=target, headers=OWN)
            assert back.failed is not None, target
            self.assertEqual(back.failed[0], 508)
            world.upstreams.sent[0].answer.callback(FakeResponse(508, LOOP))
            world.upstreams.sent[1].answer.callback(FakeResponse(200))
            self.assertEqual(client.served_by, B)

    def test_two_mpps_that_are_servers_of_each_other(self) -> None:
        """Neither waits for the other's response to the same query: the request goes on until one of them sees it twice."""
        world = World(no_single_flight=False)
        world.request()
        world.request(headers=((b"MPP-Instance", b"aaa"),))
        self.assertEqual(len(world.upstreams.sent), 2)

    def test_request_of_another_mpp_shares_a_response(self) -> None:
        """With the ones that have passed the same mpp, and with the ones of clients that come later."""
        world = World(no_single_flight=False)
        for fields in (((b"MPP-Instance", b"aaa, bbb"),), ((b"mpp-instance", b"aaa"),), ((b"MPP-Instance", b"bbb"),), ()):
            world.request(headers=fields)
        self.assertEqual(len(world.upstreams.sent), 1)

    def test_question_to_a_silent_server(self) -> None:
        """The question whether a server is there carries the token, too."""
        world = World()
        world.request()
        world.clock.pump([0.05] * 20)
        self.assertIn(b"\r\nMPP-Instance: %b\r\n" % INSTANCE.token.encode(), world.upstreams.probes[0].head)
