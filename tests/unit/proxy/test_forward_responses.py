"""What becomes of a client's request when a server's response is not plainly an answer."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.interfaces import IResponse
from mpp.core.model import Backend, Headers, Observation, RequestInfo, Selection, Standing
from mpp.proxy.decisions.unreadable import REMEMBERED_S, UnreadableQueries, identity
from tests.forward_support import A, B, FakeDownstream, FakeResponse, World
from tests.unit.core.test_responses import api_error, execution

REFUSED = UpstreamError(Phase.CONNECT, Cause.REFUSED)
PAGE = b"<html>503 Service Temporarily Unavailable</html>"
FORM: Headers = ((b"Content-Type", b"application/x-www-form-urlencoded"),)
MISMATCH = execution("cannot populate chunk 8 from block 00000000000000000000000000: checksum mismatch expected:0, actual:1")


class ResponseCase(SynchronousTestCase):
    """Two servers, of which the first one is selected."""

    def build(self, **settings: int) -> World:
        """Make the world."""
        self.world = World(standbys=(B,), **settings)
        return self.world

    def ask(self, *responses: IResponse | UpstreamError, **request: object) -> FakeDownstream:
        """Make a request, and answer its attempts in this order."""
        client = self.world.request(**request)  # type: ignore[arg-type]
        first = len(self.world.upstreams.sent) - 1
        for number, response in enumerate(responses):
            answer = self.world.upstreams.sent[first + number].answer
            if isinstance(response, UpstreamError):
                answer.errback(response)
            else:
                answer.callback(response)
        return client

    def published(self, **changed: object) -> None:
        """Publish what is known of the first server now."""
        selection = self.world.selections.current
        seen = (evolve(Observation(A, Standing.VIABLE), **changed), Observation(B, Standing.VIABLE))
        self.world.selections.current = Selection(2, selection.choice, seen)


class TurnedAwayTests(ResponseCase):
    """A 503 that is not Prometheus' own."""

    def test_another_server_answers_at_once(self) -> None:
        """A limiter's 503 is not seen by a client; the server is asked how it is, and not ejected."""
        world = self.build()
        answer = FakeResponse(200, b"{}")
        client = self.ask(FakeResponse(503, PAGE), answer)
        self.assertIs(client.delivered, answer)
        self.assertEqual(world.selections.reports, [(A, Standing.BUSY)])
        self.assertEqual(world.counted("mpp_retries_total", backend="a:9090", reason="refused"), 1)

    def test_heavy_queries_are_answers_in_any_coding(self) -> None:
        """One heavy query does not eject two healthy servers because its error is marked as identity."""
        world = self.build()
        heavy = FakeResponse(503, api_error("timeout", "query timed out"), ((b"Content-Encoding", b"identity"),))
        client = self.ask(heavy)
        self.assertIs(client.delivered, heavy)
        self.assertEqual((world.selections.reports, len(world.upstreams.sent)), ([], 1))

    def test_a_limited_pair_is_not_waited_for(self) -> None:
        """When both servers were found to be limited, the client gets its error at once, and nobody is probed for it."""
        world = self.build()
        self.published(limited=True)
        world.selections.current = evolve(
            world.selections.current,
            observations=tuple(evolve(each, limited=True) for each in world.selections.current.observations),
        )
        client = self.ask(FakeResponse(503, PAGE), FakeResponse(503, PAGE))
        assert client.failed is not None
        self.assertEqual((client.failed[0], client.failed[2]), (503, 5))
        self.assertEqual(world.selections.waiting, [])

    def test_a_pair_of_which_nothing_is_known_is(self) -> None:
        """When it is not known whether both are limited or gone, the next round is waited for."""
        world = self.build()
        client = self.ask(FakeResponse(503, PAGE), FakeResponse(503, PAGE))
        self.assertIsNone(client.failed)
        self.assertEqual(len(world.selections.waiting), 1)


class GatewayTests(ResponseCase):
    """Statuses that a Prometheus does not send."""

    def test_another_server_is_asked(self) -> None:
        """What a gateway of one server says is not passed on while another server answers."""
        for status in (408, 421, 425, 501, 505, 507, 520, 525, 530, 599):
            self.build()
            client = self.ask(FakeResponse(status, b"<html>"), FakeResponse(200, b"{}"))
            self.assertEqual((client.served_by, client.attempts), (B, 2), status)

    def test_what_all_say_is_the_answer(self) -> None:
        """What both gateways say is passed on unchanged, at once."""
        for status in (408, 421, 425):
            self.build()
            last = FakeResponse(status, b"<html>")
            client = self.ask(FakeResponse(status, b"<html>"), last)
            self.assertIs(client.delivered, last)

    def test_a_lost_route_is_not_believed(self) -> None:
        """A gateway's 404 for a path of the API is tried elsewhere; an unknown path's is the answer."""
        self.build()
        self.assertIs(self.ask(FakeResponse(404, b"default backend - 404"), FakeResponse(200, b"{}")).served_by, B)
        self.assertIs(self.ask(FakeResponse(404, b"default backend - 404"), target=b"/x").served_by, A)

    def test_a_lost_route_is_seen_behind_a_prefix(self) -> None:
        """The path counts as the server sees it, whether the client wrote its prefix or not."""
        behind = Backend("http", "a", 9090, "/prometheus")
        for target in (b"/api/v1/query?query=up", b"/prometheus/api/v1/query?query=up"):
            self.world = World(selected=(behind,), standbys=(B,))
            self.assertIs(self.ask(FakeResponse(404, b""), FakeResponse(200, b"{}"), target=target).served_by, B)

    def test_a_lost_route_is_seen_behind_the_prefix_of_another_server(self) -> None:
        """A page of one server that asks another one is not told that the path is unknown when a gateway lost its route."""
        behind = Backend("http", "a", 9090, "/prometheus")
        self.world = World(selected=(B,), standbys=(behind,))
        target = b"/prometheus/api/v1/query?query=up"
        self.assertIs(self.ask(FakeResponse(404, b""), FakeResponse(200, b"{}"), target=target).served_by, behind)

    def test_the_first_response_is_better_than_none(self) -> None:
        """When the other server is dead, the client gets what the first one said."""
        for response in (FakeResponse(403, b"no"), FakeResponse(422, MISMATCH), FakeResponse(421, b"")):
            self.build()
            client = self.ask(response, REFUSED)
            self.world.selections.publish(self.world.selections.current)
            self.world.upstreams.sent[-1].answer.errback(REFUSED)
            self.assertIs(client.delivered, response)


class StorageTests(ResponseCase):
    """A server with broken blocks."""

    def test_the_other_server_answers(self) -> None:
        """What one server cannot read the other one reads; it is counted, and said in words."""
        world = self.build()
        client = self.ask(FakeResponse(422, MISMATCH), FakeResponse(200, b"{}"))
        self.assertEqual((client.served_by, client.attempts), (B, 2))
        self.assertEqual(world.selections.reports, [(A, Standing.SUSPECT)])
        self.assertEqual([backend for backend, _ in world.selections.damages], [A])
        self.assertIn("checksum mismatch", world.selections.damages[0][1])
        self.assertEqual(world.counted("mpp_retries_total", backend="a:9090", reason="storage"), 1)

    def test_it_is_the_last_choice_for_what_it_cannot_read(self) -> None:
        """The same query, about whatever time, goes to the other server first; every other one does not."""
        world = self.build()
        self.published()
        self.ask(FakeResponse(422, MISMATCH), FakeResponse(200, b"{}"), target=b"/api/v1/query_range?query=up&start=1&end=2")
        for target in (b"/api/v1/query_range?query=up&start=3&end=4", b"/api/v1/query_range?end=4&start=1&step=3&query=up"):
            self.assertIs(self.ask(FakeResponse(200, b"{}"), target=target).served_by, B)
        for target in (b"/api/v1/query_range?query=down&start=1&end=2", b"/api/v1/query?query=up"):
            self.assertIs(self.ask(FakeResponse(200, b"{}"), target=target).served_by, A)
        world.clock.advance(REMEMBERED_S)
        self.assertIs(self.ask(FakeResponse(200, b"{}"), target=b"/api/v1/query_range?query=up").served_by, A)
        self.assertFalse(world.forwarder.context.unreadable.until)

    def test_it_is_asked_when_no_other_one_is_usable(self) -> None:
        """A server that cannot read something is better than one that is down."""
        self.build()
        self.published()
        self.ask(FakeResponse(422, MISMATCH), FakeResponse(200, b"{}"))
        selection = self.world.selections.current
        down = tuple(evolve(o, standing=Standing.DOWN) if o.backend == B else o for o in selection.observations)
        self.world.selections.current = evolve(selection, observations=down)
        self.assertIs(self.ask(FakeResponse(200, b"{}")).served_by, A)

    def test_what_neither_can_read_is_the_answer(self) -> None:
        """When both say so, the client gets what the last one said, after two attempts."""
        self.build()
        last = FakeResponse(422, MISMATCH)
        client = self.ask(FakeResponse(422, MISMATCH), last)
        self.assertIs(client.delivered, last)

    def test_errors_of_the_query_stay_at_one_attempt(self) -> None:
        """A wrong query is asked once."""
        self.build()
        wrong = FakeResponse(422, execution("expanding series: context deadline exceeded"))
        self.assertIs(self.ask(wrong).delivered, wrong)
        self.assertEqual((self.world.upstreams.backends, self.world.selections.damages), ([A], []))


class UnreadableTests(SynchronousTestCase):
    """What is remembered of what servers cannot read."""

    def facts(self, target: bytes = b"/api/v1/query", body: bytes = b"") -> RequestInfo:
        return RequestInfo(b"POST" if body else b"GET", target, FORM if body else (), body)

    def test_a_form_asks_for_the_same_as_a_query_string(self) -> None:
        """How a query is sent makes no difference, nor do its times."""
        told = identity(self.facts(b"/api/v1/query?query=up%7B%7D&time=1"))
        self.assertEqual(identity(self.facts(body=b"time=2&query=up%7B%7D&timeout=3s")), told)
        self.assertNotEqual(identity(self.facts(body=b"query=down")), told)
        self.assertNotEqual(identity(self.facts(b"/api/v1/query_range?query=up%7B%7D")), told)

    def test_bytes_that_are_no_text(self) -> None:
        """The bytes of remote read, and of a query in no encoding, are forwarded and remembered like all others."""
        infos = [
            RequestInfo(b"POST", b"/api/v1/read", ((b"Content-Encoding", b"snappy"),), b"\x8f\x01\xf0&\xff=\n"),
            RequestInfo(b"POST", b"/api/v1/read", ((b"Content-Encoding", b"snappy"),), b"\x8f\x01\xf0&\xff=\r"),
            self.facts(body=b'query=up{a="\xc3\xa9"}'),
            self.facts(body=b"query=\xff"),
            self.facts(b"/api/v1/query?query=\xfe"),
        ]
        world = World(standbys=(B,))
        for info in infos:
            client = FakeDownstream(info)
            world.forwarder.forward(client)
            world.upstreams.sent[-1].answer.callback(FakeResponse(422, MISMATCH))
            world.upstreams.sent[-1].answer.callback(FakeResponse(200, b"{}"))
            self.assertEqual((client.served_by, client.attempts), (B, 2), info)
        self.assertEqual(len(world.forwarder.context.unreadable.until), len(infos))
        self.assertEqual(identity(self.facts(b"/api/v1/query?query=up{a=%22%C3%A9%22}")), identity(infos[2]))

    def test_it_is_bounded(self) -> None:
        """A client that makes up queries cannot make mpp remember more and more; huge ones are not remembered at all."""
        unreadable = UnreadableQueries(World().clock)
        for number in range(5000):
            unreadable.record(A, self.facts(body=b"query=%d" % number))
        self.assertEqual(len(unreadable.until), 2048)
        self.assertEqual(unreadable.backends(self.facts(body=b"query=4999")), [A])
        unreadable.forget(B)
        self.assertEqual(len(unreadable.until), 2048)
        unreadable.forget(A)
        self.assertFalse(unreadable.until)
        unreadable.record(A, self.facts(body=b"query=" + b"x" * 100_000))
        self.assertFalse(unreadable.until)


class KnownCredentials:
    """Credentials of mpp's own for some servers; the test says when their files have changed."""

    def __init__(self, *backends: Backend) -> None:
        self.backends = backends
        self.renewed = False
        self.asked: list[Backend] = []

    def authorizes(self, backend: Backend) -> bool:
        return backend in self.backends

    def refreshed_since(self, backend: Backend, at: float) -> bool:
        self.asked.append(backend)
        renewed, self.renewed = self.renewed, False
        return renewed


class CredentialsTests(ResponseCase):
    """Servers that refuse credentials."""

    CHALLENGE: Headers = ((b"WWW-Authenticate", b'Basic realm="prometheus"'),)
    OWN: Headers = ((b"Authorization", b"Basic Y2xpZW50Og=="),)

    def own(self, *backends: Backend, **settings: int) -> KnownCredentials:
        """Let mpp have credentials for some servers."""
        credentials = KnownCredentials(*backends)
        world = self.build(**settings)
        world.forwarder.context = evolve(world.forwarder.context, credentials=credentials)
        return credentials

    def unauthorized(self) -> FakeResponse:
        return FakeResponse(401, b"Unauthorized", self.CHALLENGE)

    def test_another_server_answers(self) -> None:
        """A 401 to mpp's own credentials has the files read, the server probed, and another one asked."""
        credentials = self.own(A, B)
        client = self.ask(self.unauthorized(), FakeResponse(200, b"{}"), headers=self.OWN)
        self.assertIs(client.served_by, B)
        self.assertEqual(credentials.asked, [A])
        self.assertEqual(self.world.selections.reports, [(A, Standing.VIABLE)])

    def test_all_refuse(self) -> None:
        """When every server refuses mpp's credentials, the client is not asked for any: it gets a 502 that says so."""
        self.own(A, B)
        client = self.ask(self.unauthorized(), self.unauthorized())
        assert client.failed is not None
        self.assertIsNone(client.delivered)
        self.assertEqual(client.failed[0], 502)
        self.assertIn("the servers refuse mpp's credentials", client.failed[1])
        self.assertEqual(self.world.selections.waiting, [])

    def test_without_retries_and_for_writes_too(self) -> None:
        """What is not repeated gets no challenge either."""
        self.own(A, B, retries=0)
        self.assertEqual((self.ask(self.unauthorized()).failed or (0,))[0], 502)
        self.own(A, B)
        client = self.ask(self.unauthorized(), method=b"POST", target=b"/somewhere")
        self.assertEqual((client.failed or (0,))[0], 502)
        self.assertEqual(self.world.upstreams.backends, [A])

    def test_credentials_that_have_changed_are_tried_on_the_same_server(self) -> None:
        """When the files hold other credentials now, the server that refused the old ones is asked again."""
        self.own(A, B).renewed = True
        client = self.ask(self.unauthorized(), FakeResponse(200, b"{}"))
        self.assertIs(client.served_by, A)

    def test_one_refuses_and_the_other_is_dead(self) -> None:
        """The client gets mpp's own error, without a challenge."""
        self.own(A, B)
        client = self.ask(self.unauthorized(), REFUSED)
        self.world.selections.publish(self.world.selections.current)
        self.world.upstreams.sent[-1].answer.errback(REFUSED)
        assert client.failed is not None
        self.assertEqual(client.failed[0], 503)

    def test_forbidden_by_one(self) -> None:
        """A 403 is tried once on another server, and counts against nobody."""
        self.own(A, B)
        self.assertIs(self.ask(FakeResponse(403), FakeResponse(200)).served_by, B)
        self.assertEqual(self.world.selections.reports, [])

    def test_forbidden_by_both(self) -> None:
        """When the other server says so, too, that is the answer."""
        self.own(A, B)
        last = FakeResponse(403, b"forbidden path")
        self.assertIs(self.ask(FakeResponse(403, b"forbidden path"), last).delivered, last)

    def test_what_is_meant_for_the_client_reaches_it(self) -> None:
        """Where the client's own credentials are passed on, 401 and 403 are passed back unchanged."""
        for status in (401, 403):
            self.own(B)
            response = FakeResponse(status, b"", self.CHALLENGE)
            self.assertIs(self.ask(response, headers=self.OWN).delivered, response)
            self.assertEqual(self.world.upstreams.backends, [A])
