"""Which backend would answer a request, and why."""

from __future__ import annotations

import functools
import html
import json
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.admin import explain_page as explained
from mpp.admin.status.identity import Identity
from mpp.admin.status.query_string import PageQuery, read, wanted_format
from mpp.core.coverage import Coverage, Job, Missing
from mpp.core.facts import Lack
from mpp.core.intervals import Intervals
from mpp.core.model import Backend, Choice, Headers, Observation, RequestInfo, Selection, Standing
from mpp.core.settings import Settings
from mpp.proxy.decisions.affinity import AffinityChain, CookieAffinity, SourceIPAffinity
from mpp.proxy.decisions.explain import Explanation, explain
from mpp.proxy.placing import planned
from mpp.selection.query_of_death import SuspectQueries, key_of
from tests.forward_support import A, B, C, World
from tests.status_support import FOREIGN, unplanned

WELL = tuple(Observation(backend, Standing.VIABLE) for backend in (A, B, C))
ONE = Selection(1, Choice((A,), (B, C)), WELL)
TWO = Selection(1, Choice((A, B), (C,)), WELL)
COOKIE = ((b"Cookie", b"MPP.Route=" + B.id.encode()),)


def explanation(
    target: bytes = b"/api/v1/query?query=up",
    selection: Selection = ONE,
    headers: Headers = (),
    method: bytes = b"GET",
    **settings: Any,
) -> Explanation:
    """Explain a request of a client with cookies."""
    facts = RequestInfo(method, target, headers, b"", "203.0.113.9")
    suspects = SuspectQueries(lambda: 100.0)
    plan = settings.pop("plan", unplanned)
    for suspect in settings.pop("suspects", ()):
        suspects.add(key_of(facts._replace(target=suspect)))
    return explain(facts, selection, AffinityChain((CookieAffinity(),)), Settings(**settings), 100.0, suspects, plan)


class ExplainTests(SynchronousTestCase):
    """Decisions, and their reasons."""

    def test_one_selected(self) -> None:
        """The selected one answers by the strategy's will, and the standbys are next."""
        told = explanation()
        self.assertEqual((told.outcome, told.backends, told.next_backends), ("forwarded", ("a:9090",), ("b:9090", "c:9090")))
        self.assertEqual((told.decided_by, told.read, told.deadline_seconds), ("strategy", True, 120.0))
        self.assertEqual(told.verdict, "a:9090 would answer this.")
        self.assertIn("The routing strategy single-most-data selects a:9090.", told.reasons)

    def test_sticky_server_for_federation_is_named(self) -> None:
        """The server on which a client is kept for federation is named, and that it stays there."""
        told = explanation(b"/federate?match[]=up", evolve(ONE, sticky=(B,)), COOKIE)
        self.assertEqual((told.backends, told.decided_by, told.affinity), (("b:9090",), "affinity", "sticky"))
        self.assertIn("Federation and remote read keep this client on b:9090 as long as it is in service.", told.reasons)

    def test_server_that_lacks_newest_data_is_named(self) -> None:
        """A server that lacks newest data is named, but not for requests about the time before."""
        lacking = Observation(B, Standing.VIABLE, lack=Lack(80, 80, 1_700_000_000.0, stopped=True))
        selection = evolve(ONE, observations=(Observation(A, Standing.VIABLE), lacking)).with_past(Choice((B,), (A,)))
        told = explanation(b"/api/v1/query?query=up", selection)
        why = "b:9090 has scraped none of 80 targets since 22:13:20 UTC, and is tried last for newest data."
        self.assertEqual((told.backends, why in told.reasons), (("a:9090",), True))
        told = explanation(b"/api/v1/query?query=up&time=1699999999", selection)
        self.assertEqual((told.backends, why in told.reasons), (("b:9090",), False))

    def test_query_of_death(self) -> None:
        """A query that a server may have died of is not sent to the last healthy one, but to one of two."""
        suspects = (b"/api/v1/query?query=up&time=1",)
        alone = Selection(1, Choice((A,), (B,)), (Observation(A, Standing.VIABLE), Observation(B, Standing.DOWN)))
        self.assertEqual(explanation(suspects=suspects).outcome, "forwarded")
        told = explanation(selection=alone, suspects=suspects)
        self.assertEqual(told.outcome, "refused")
        self.assertIn("may have died of this query", told.reasons[0])
        self.assertEqual(explanation(b"/api/v1/query?query=down", alone, suspects=suspects).outcome, "forwarded")

    def test_behind_a_proxy(self) -> None:
        """The client is who a proxy says that was named, whatever the outcome."""
        chain = ((b"X-Forwarded-For", b"198.51.100.7"),)
        for target in (b"/api/v1/query?query=up", b"/mpp/status"):
            self.assertEqual(explanation(target, headers=chain).client, "203.0.113.9")
            self.assertEqual(explanation(target, headers=chain, trusted_proxies=("203.0.113.9/32",)).client, "198.51.100.7")

    def test_cookie_decides_while_its_server_is_selected(self) -> None:
        """A client is sent where its cookie says, as long as that one is selected."""
        told = explanation(selection=TWO, headers=COOKIE)
        self.assertEqual((told.backends, told.decided_by, told.affinity), (("b:9090",), "affinity", "cookies"))
        self.assertEqual(told.next_backends, ("a:9090", "c:9090"))
        self.assertEqual(explanation(headers=COOKIE).decided_by, "strategy")

    def test_chance_decides_among_several_selected(self) -> None:
        """Among several selected ones chance decides for a new client."""
        told = explanation(selection=TWO)
        self.assertEqual((told.backends, told.next_backends, told.decided_by), (("a:9090", "b:9090"), (), "chance"))
        self.assertEqual(told.verdict, "One of a:9090 and b:9090 would answer this, taken at random.")

    def test_nobody_is_selected(self) -> None:
        """When nobody is selected, the best of the others is asked, and what is wrong with it is told."""
        down = Observation(B, Standing.DOWN, "refused")
        told = explanation(selection=Selection(1, Choice((), (B, A)), (down, Observation(A, Standing.DOWN, "reset"))))
        self.assertEqual((told.backends, told.next_backends), (("b:9090",), ("a:9090",)))
        self.assertIn("b:9090 is down: refused.", told.reasons)

    def test_requests_that_may_change_something_are_sent_once(self) -> None:
        """What may change something is sent once."""
        told = explanation(b"/api/v1/rules", method=b"DELETE")
        self.assertEqual((told.read, told.next_backends), (False, ()))
        self.assertTrue(any("sent once" in reason for reason in told.reasons))

    def test_no_affinity_and_nobody_else(self) -> None:
        """It is told when there is no affinity, and when no other server is tried."""
        self.assertIn("There is no affinity.", explanation(affinity_options=()).reasons)
        for told in (explanation(retries=0), explanation(selection=Selection(1, Choice((A,)), WELL[:1]))):
            self.assertEqual(told.next_backends, ())
            self.assertIn("It is a read, but no other server is tried if this one fails.", told.reasons)

    def test_other_servers_are_counted(self) -> None:
        """No more other servers are told of than there are."""
        told = explanation(selection=Selection(1, Choice((A,), (B,)), WELL[:2]), retries=2)
        self.assertIn("It is a read: if it fails it is tried on one other server, next on b:9090.", told.reasons)

    def test_only_queries_have_their_own_deadline(self) -> None:
        """A query's own timeout counts, and no path but a query's has one."""
        self.assertEqual(explanation(b"/api/v1/query?query=up&timeout=5s").deadline_seconds, 6.0)
        self.assertEqual(explanation(b"/api/v1/labels?timeout=5s").deadline_seconds, 120.0)

    def test_not_forwarded(self) -> None:
        """What mpp answers itself, refuses, or cannot have answered is told as that."""
        for told, outcome in (
            (explanation(b"/mpp/status"), "own"),
            (explanation(b"/-/%72eload", method=b"POST"), "refused"),
            (explanation(selection=Selection()), "unavailable"),
            (explanation(b"/-/reload", method=b"POST", allow_unsafe_paths=True), "forwarded"),
            (explanation(b"/api/v1/rules/a", method=b"DELETE"), "refused"),
            (explanation(b"/api/v1/rules/a"), "forwarded"),
            (explanation(b"/", method=b"TRACE", allow_unsafe_paths=True), "refused"),
        ):
            self.assertEqual(told.outcome, outcome)
            self.assertTrue(told.verdict and told.reasons)

    def test_explaining_changes_nothing(self) -> None:
        """A client that asks is not remembered: it stays where chance or hash would have it."""
        affinity = SourceIPAffinity(())
        facts = RequestInfo(b"GET", b"/x", (), b"", "203.0.113.9")
        explain(facts, TWO, AffinityChain((affinity,)), Settings(), 100.0, SuspectQueries(lambda: 100.0), unplanned)
        self.assertEqual(len(affinity._recent), 0)

    def test_forwarding_does_what_was_explained(self) -> None:
        """For each kind of request, the backend that is named is the one that is asked, and the next one is asked next."""
        for target, headers in ((b"/api/v1/query?query=up", ()), (b"/api/v1/query?query=up", COOKIE), (b"/graph", ())):
            world = World(selected=(A,), standbys=(B, C))
            told = explain(
                RequestInfo(b"GET", target, headers, b"", "203.0.113.9"),
                world.selections.current,
                world.forwarder.context.affinity,
                world.forwarder.context.settings,
                world.clock.seconds(),
                world.selections.suspects,
                unplanned,
            )
            world.request(target=target, headers=headers)
            self.assertEqual(tuple(backend.name for backend in world.upstreams.backends), told.backends)


class UnreadableTests(SynchronousTestCase):
    """A query whose data a server could not read lately: what is explained is what forwarding does."""

    def explained(self, unfit: tuple[Backend, ...], selection: Selection = ONE, headers: Headers = ()) -> Explanation:
        """Explain a query that some servers could not read, then forward it many times."""
        world = World()
        world.selections.current = selection
        context, info = world.forwarder.context, RequestInfo(b"GET", b"/api/v1/query?query=up", headers, b"", "203.0.113.9")
        for backend in unfit:
            context.unreadable.record(backend, info)
        context = evolve(context, affinity=AffinityChain((CookieAffinity(),)))
        world.forwarder.context = context
        unread, now = context.unreadable.backends(info), world.clock.seconds()
        told = explain(info, selection, context.affinity, context.settings, now, world.selections.suspects, unplanned, unread)
        for _ in range(30):
            world.request(target=info.target, headers=headers)
        self.assertEqual({backend.name for backend in world.upstreams.backends}, set(told.backends))
        return told

    def test_another_one_answers(self) -> None:
        """The server that could not read the data is not named, and the reason is."""
        told = self.explained((A,))
        self.assertEqual((told.backends, told.next_backends[0], told.decided_by), (("b:9090",), "a:9090", "strategy"))
        self.assertIn("a:9090 could not read the data of this query, and is tried last for it.", told.reasons)

    def test_several_are_selected(self) -> None:
        """Of several selected servers, chance decides among the others."""
        self.assertEqual(self.explained((A,), TWO).backends, ("b:9090",))
        three = Selection(1, Choice((A, B, C)), WELL)
        told = self.explained((B,), three)
        self.assertEqual((told.backends, told.decided_by), (("a:9090", "c:9090"), "chance"))
        self.assertEqual(self.explained((A, B), TWO).backends, ("c:9090",))

    def test_affinity(self) -> None:
        """A client leaves the server of its affinity for such a query."""
        told = self.explained((B,), TWO, COOKIE)
        self.assertEqual((told.backends, told.decided_by, told.affinity), (("a:9090",), "strategy", ""))
        self.assertEqual(self.explained((A,), TWO, COOKIE).affinity, "cookies")

    def test_unusable_servers_are_no_alternative(self) -> None:
        """While no other server is usable, it is asked."""
        down = (WELL[0], *(evolve(each, standing=Standing.DOWN) for each in WELL[1:]))
        self.assertEqual(self.explained((A,), evolve(ONE, observations=down)).backends, ("a:9090",))


HOLED = Coverage(
    {"node": Job(80, 30.0)},
    {A: Missing.of(Intervals.of([(10_000, 11_000)]), {}), B: Missing.of(Intervals.of([(20_000, 21_000)]), {})},
)
RANGE = b"/api/v1/query_range?query=up&start=9000&end=23000&step=100"


class CoverageTests(SynchronousTestCase):
    """Requests for data that a server lacks: what is explained is what forwarding does."""

    def explained(self, target: bytes, selected: tuple[Backend, ...] = (A,), standbys: tuple[Backend, ...] = (B,)) -> Explanation:
        """Explain a request for data, then forward it: the backends that are named are asked."""
        world = World(selected=selected, standbys=standbys)
        observations = tuple(Observation(each, Standing.VIABLE) for each in (*selected, *standbys))
        world.selections.current = Selection(1, Choice(selected, standbys), observations)
        world.selections.coverage = HOLED
        context, info = world.forwarder.context, RequestInfo(b"GET", target, (), b"", "203.0.113.9")
        told = explain(
            info,
            world.selections.current,
            context.affinity,
            context.settings,
            world.clock.seconds(),
            world.selections.suspects,
            functools.partial(planned, context, info),
        )
        world.request(target=target)
        asked = tuple(dict.fromkeys(backend.name for backend in world.upstreams.backends))
        self.assertTrue(set(asked) <= set(told.backends), (asked, told))
        if told.decided_by == "coverage":
            self.assertEqual(asked, told.backends)
        return told

    def test_instant_query(self) -> None:
        """Another server than the selected one answers, and it is said what the selected one lacks."""
        told = self.explained(b"/api/v1/query?query=up&time=10500")
        self.assertEqual((told.backends, told.next_backends, told.decided_by), (("b:9090",), ("a:9090",), "coverage"))
        self.assertEqual(told.verdict, "b:9090 would answer this.")
        why = [reason for reason in told.reasons if reason.startswith("a:9090 lacks")]
        self.assertEqual(why, ["a:9090 lacks 1970-01-01 02:54:30 to 02:55:00 UTC (80 of 80 targets of node); b:9090 has more."])

    def test_each_part_names_its_server_and_times(self) -> None:
        """Of a range, each part is named with its server and times."""
        told = self.explained(RANGE)
        self.assertEqual((told.backends, told.next_backends, told.decided_by), (("b:9090", "a:9090"), (), "coverage"))
        self.assertEqual(told.verdict, "b:9090 and a:9090 would answer this together, each for some of the steps.")
        parts = [reason for reason in told.reasons if "steps, from" in reason]
        self.assertEqual(len(parts), 2, told.reasons)
        self.assertTrue(parts[0].startswith("b:9090 answers ") and "from 1970-01-01 02:30:00 to " in parts[0], parts)
        self.assertTrue(parts[1].startswith("a:9090 answers ") and parts[1].endswith(" to 06:23:20 UTC."), parts)
        self.assertTrue(
            any(reason.startswith("It is a read: a part that fails is tried on one other server") for reason in told.reasons)
        )

    def test_random_choice_is_among_servers_with_the_data(self) -> None:
        """Where one server is chosen at random, it is one of those that have the data."""
        told = self.explained(b"/api/v1/query?query=up&time=10500", (A, B, C), ())
        self.assertEqual((told.backends, told.decided_by), (("b:9090", "c:9090"), "chance"))
        told = self.explained(b"/api/v1/query?query=up&time=10500", (A, B), ())
        self.assertEqual((told.backends, told.decided_by), (("b:9090",), "coverage"))
        told = self.explained(RANGE, (A, B), ())
        self.assertEqual((told.backends, told.decided_by), (("b:9090", "a:9090"), "coverage"))

    def test_nobody_has_it(self) -> None:
        """The warning that the client gets is quoted, and the affinity or strategy still decides."""
        told = self.explained(b"/api/v1/query?query=increase(up[12000s])&time=21500")
        warned = [reason for reason in told.reasons if reason.startswith('The response gets a warning: "mpp: no ')]
        self.assertEqual((told.backends, told.decided_by, len(warned)), (("a:9090",), "strategy", 1), told.reasons)

    def test_it_does_not_matter(self) -> None:
        """Nothing is said of holes out of reach, and federation stays."""
        for target in (b"/api/v1/query?query=up&time=15000", b"/federate?match[]=up"):
            told = self.explained(target)
            self.assertEqual((told.backends, told.decided_by in ("strategy", "affinity")), (("a:9090",), True))
            self.assertFalse([reason for reason in told.reasons if " lacks " in reason])


class QuestionTests(SynchronousTestCase):
    """What stands behind the question mark."""

    def test_any_query_url_can_be_explained(self) -> None:
        """Any query URL can be put behind it, raw or as a form sends it."""
        up = b"/api/v1/query?query=up"
        for asked, question in [
            (up, PageQuery("", b"GET", up)),
            (b"http://mpp:9090" + up, PageQuery("", b"GET", up)),
            (b"HTTPS://[::1]:1/x#y", PageQuery("", b"GET", b"/x")),
            (b"http://mpp:9090", PageQuery("", b"GET", b"/")),
            (b"api/v1/labels", PageQuery("", b"GET", b"/api/v1/labels")),
            (b"format=json&" + up, PageQuery("json", b"GET", up)),
            (up + b"&format=json", PageQuery("json", b"GET", up)),
            (b"/x?format=text", PageQuery("text", b"GET", b"/x")),
            (b"method=post&format=text&/x", PageQuery("text", b"POST", b"/x")),
            (
                b"url=%2Fapi%2Fv1%2Fquery%3Fquery%3Dup%2B1+%26x%3D%C3%A4",
                PageQuery("", b"GET", b"/api/v1/query?query=up+1%20&x=%C3%A4"),
            ),
            (b"%2Fx%3Fa%3Db", PageQuery("", b"GET", b"/x?a=b")),
            (b"http%3A%2F%2Fmpp%2Fx", PageQuery("", b"GET", b"/x")),
            (b"/x?a=%2B[5m]", PageQuery("", b"GET", b"/x?a=%2B[5m]")),
            (b"format=xml&method=" + b"X" * 99 + b"&/x", PageQuery("", b"GET", b"/x")),
            (b"url=%0d%0aHost:x", PageQuery("", b"GET", b"/Host:x")),
            (b"/x\xe4", PageQuery("", b"GET", b"/x%E4")),
            (b"", PageQuery("", b"GET", b"")),
            (b"format=json", PageQuery("json", b"GET", b"")),
        ]:
            self.assertEqual(read(asked), question, asked)

    def test_format_parameter_wins_over_accept(self) -> None:
        """What is asked for counts, then what the client accepts."""
        for asked, accept, otherwise, expected in [
            ("json", b"text/html", "text", "json"),
            ("", b"text/html,application/xhtml+xml", "text", "html"),
            ("", b"application/json", "html", "json"),
            ("", b"*/*", "text", "text"),
        ]:
            self.assertEqual(wanted_format(asked, accept, otherwise), expected)


class RenderedTests(SynchronousTestCase):
    """The same for people, terminals and programs."""

    def test_all_say_the_same(self) -> None:
        """Verdict and reasons are in each form."""
        for told in (explanation(), explanation(b"/mpp/status")):
            self.say_the_same(told)

    def say_the_same(self, told: Explanation) -> None:
        document = json.loads(explained.as_json(told))
        self.assertEqual((document["verdict"], tuple(document["reasons"])), (told.verdict, told.reasons))
        for rendered in (
            explained.as_text(told).decode(),
            html.unescape(explained.as_page(told, Identity("gateway-1")).decode()),
        ):
            for words in (told.verdict, *told.reasons):
                self.assertIn(words, rendered)

    def test_foreign_words(self) -> None:
        """What a client asks becomes neither markup nor a command to a terminal."""
        told = explanation(FOREIGN.encode("utf-8", "replace") + b"\x1b[31m")
        self.assertNotIn(b"<script", explained.as_page(told, Identity("gateway-1")))
        self.assertNotIn(b"<img", explained.as_page(told, Identity("gateway-1")))
        self.assertNotIn(b"\x1b", explained.as_text(told))
        self.assertEqual(len(explained.as_text(told).splitlines()), 2 + len(told.reasons))
        json.loads(explained.as_json(told))
