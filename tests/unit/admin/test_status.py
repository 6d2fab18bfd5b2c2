"""The status page: in words, as HTML, as JSON."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp._version import __version__
from mpp.admin.status import html_page as pages
from mpp.admin.status import json_document as document
from mpp.admin.status import report
from mpp.admin.status.data import StatusView
from mpp.admin.status.html import CONTENT_SECURITY_POLICY
from mpp.admin.status.identity import Identity
from mpp.admin.status.links import linked
from mpp.admin.status.sparkline import picture
from mpp.core.coverage import Coverage, Job, Missing
from mpp.core.facts import Lack, Replay, ServerState
from mpp.core.intervals import Intervals
from mpp.core.model import Backend, Observation, Selection, Standing
from mpp.core.text.durations import duration
from mpp.core.text.humanize import ago, latency, listing, number, quantity, rate, share
from mpp.coverage.history.service import Progress
from mpp.security.web_config.protection import ListenerSecurity
from mpp.selection.recent import SLOTS, Event, RecentTraffic, TrafficSlot, TrafficSpan
from mpp.selection.verdict.verdict import LocatorView
from tests.status_support import FOREIGN, NOW, A, B, view, well

DOWN = Observation(B, Standing.DOWN, "no response to /-/ready: connect: refused", at=NOW - 1)
C = Backend("http", "prom-c", 9090)


def page(*observations: Observation, **more: Any) -> str:
    """Return the status page with these observations."""
    return pages.render(view(*observations, **more)).decode()


class Elements(HTMLParser):
    """All elements of a page, with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


class VerdictTests(SynchronousTestCase):
    """How the pair stands, at one glance."""

    def verdict(self, *observations: Observation, **more: Any) -> str:
        return report.make(view(*observations, **more)).verdict

    def test_first_sentence_names_unhealthy_and_serving_servers(self) -> None:
        """The first sentence says who is not well and who serves."""
        ejected = well(B, standing=Standing.SUSPECT, why="reset", ejected_at=NOW - 90)
        replaying = well(B, standing=Standing.NOT_READY, why="not ready", replay=Replay(1, 4, NOW - 9, 1))
        unproven = Observation(C, Standing.BUSY, unproven=True)
        for observations, verdict in [
            ((well(A), well(B)), "Both servers are healthy; prom-a:9090 serves."),
            ((well(A),), "The only server is healthy; prom-a:9090 serves. There is no second one."),
            ((well(A), well(B), well(C)), "All 3 servers are healthy; prom-a:9090 serves."),
            ((well(A), ejected), "One server is ejected. prom-a:9090 serves."),
            ((well(A), replaying), "One server replays its WAL. prom-a:9090 serves."),
            ((well(A), DOWN), "One server is down. prom-a:9090 serves."),
            ((well(A), ejected, Observation(C, Standing.BUSY)), "One server is ejected, one server is busy. prom-a:9090 serves."),
            ((well(A), unproven), "One server rejects the probe's query. prom-a:9090 serves."),
            ((evolve(unproven, backend=A), unproven), "Two servers reject the probe's query. prom-a:9090 serves."),
            ((well(A), DOWN, Observation(C, Standing.DOWN)), "Two servers are down. prom-a:9090 serves."),
            ((DOWN, Observation(A, Standing.DOWN)), "No server is healthy. As a last resort prom-a:9090 serves."),
            ((), "No Prometheus server is known. No request can be answered."),
            (
                (Observation(C, Standing.NOT_READY), Observation(B, Standing.BUSY)),
                "One server is not ready, one server is busy. prom-a:9090 serves.",
            ),
        ]:
            self.assertEqual(self.verdict(*observations), verdict)

    def test_several_serve(self) -> None:
        """All who take traffic are named."""
        verdict = self.verdict(well(A), well(B), selected=(A, B))
        self.assertEqual(verdict, "Both servers are healthy; prom-a:9090 and prom-b:9090/x serve.")

    def test_before_the_first_round(self) -> None:
        """Nobody is alarmed while mpp is still looking."""
        self.assertIn("not finished its first selection round", self.verdict(selection=Selection()))

    def test_nobody_is_selected(self) -> None:
        """When a strategy selects nobody that is said."""
        self.assertEqual(
            self.verdict(well(A), well(B), selected=()),
            "Both servers are healthy. The routing strategy selects none; requests are sent to prom-a:9090, the best standby.",
        )

    def test_degraded_choice_is_reported_first(self) -> None:
        """A choice that is not what was asked for is told first."""
        self.assertEqual(self.verdict(well(A), degraded="none has enough"), "None has enough. prom-a:9090 serves.")

    def test_what_does_not_spoil_answers_is_a_warning(self) -> None:
        """A pair that differs, and a source that fails, are told beside how the servers are."""
        apart = report.make(view(well(A), well(B, facts_targets=7)))
        self.assertEqual((apart.level, "not alike (targets)" in apart.verdict), ("warn", True))
        labeled = report.make(view(well(A, facts_external_labels=(("r", "a"),)), well(B, facts_external_labels=(("r", "b"),))))
        self.assertEqual((labeled.level, labeled.verdict), ("good", "Both servers are healthy; prom-a:9090 serves."))
        lost = report.make(view(well(A), well(B), locators=(LocatorView("dns", False, 2, "no such name"),)))
        self.assertEqual((lost.level, "dns gives no usable list" in lost.verdict), ("warn", True))


class ListenerTests(SynchronousTestCase):
    """What protects the listener, beside the verdict."""

    def test_protection_is_shown_in_the_refreshed_part(self) -> None:
        """It is seen in a word, in the part of the page that is renewed."""
        for guards, word in ((ListenerSecurity(), "not protected"), (ListenerSecurity(True), "protected")):
            main = page(well(A), security=guards).partition("<main>")[2].partition("</section>")[0]
            self.assertIn(f">{word}</span> This listener has ", main)


class IdentityTests(SynchronousTestCase):
    """Which of several mpp it is."""

    def test_host_process_and_version_stand_at_the_top(self) -> None:
        """Host, addresses, process and version stand at the top, and the host in the title of the tab."""
        shown = page(well(A), identity=Identity("gateway-1", 4711, ("0.0.0.0:9090", "unix:/run/mpp.sock")))
        self.assertIn("gateway-1, listens on 0.0.0.0:9090 and unix:/run/mpp.sock, pid 4711</span></header>", shown)
        self.assertIn(__version__, shown.partition("</header>")[0])
        self.assertIn(" mpp gateway-1: The only server", shown.partition("</title>")[0])

    def test_unknown_identity_is_left_out(self) -> None:
        """What is not known is left out."""
        self.assertEqual((Identity().described, Identity(pid=4).described), ("", "pid 4"))


class WorkersTests(SynchronousTestCase):
    """How many processes serve."""

    def test_missing_worker_is_shown(self) -> None:
        """Several are told of, and above all when one is missing."""
        self.assertNotIn("Workers", page(well(A)))
        self.assertIn("<dt>Workers</dt><dd>2</dd>", page(well(A), settings={"workers": 2}, workers=2))
        self.assertIn('<span class="warn">1 of 2</span>', page(well(A), settings={"workers": 2}, workers=1))


class DownTests(SynchronousTestCase):
    """A server that does not answer any more."""

    def test_last_known(self) -> None:
        """What it said of itself is set apart as the last that is known, with its age; what mpp sees itself is not."""
        self.assertNotIn("Last known", page(well(A)))
        self.assertIn("Reported 30s ago:</p><dl><dt>Version</dt>", page(well(A)))
        for standing in (Standing.DOWN, Standing.NOT_READY):
            html = page(well(A, standing=standing, why="refused", facts_targets=3, facts_reload_ok=False))
            present, mark, past = html.partition('Last known, 30s ago:</p><dl class="past">')
            self.assertTrue(mark)
            for name in ("Version", "History", "Newest sample", "Targets", "Configuration", "Clock"):
                self.assertNotIn(f"<dt>{name}</dt>", present)
                self.assertIn(f"<dt>{name}</dt>", past)
            for name in ("Standing", "Uptime", "Last probe"):
                self.assertIn(f"<dt>{name}</dt>", present)

    def test_history_does_not_grow(self) -> None:
        """A server that is down gets no older data: its history is what it was."""
        html = page(well(A, standing=Standing.DOWN, facts_oldest=NOW - 86400 - 60, facts_read_at=NOW - 86400))
        self.assertIn("<dt>History</dt><dd>1m, keeps 15d</dd>", html)

    def test_never_asked(self) -> None:
        """Of a server that never said anything no question marks are shown."""
        html = page(Observation(A, Standing.DOWN, "refused"))
        self.assertIn("has not reported its state", html)
        self.assertNotIn("<dt>Version</dt>", html)

    def test_json_separates_current_from_past(self) -> None:
        """Programs can tell what is current from what was."""
        values = view(well(A), well(B, standing=Standing.DOWN))
        self.assertEqual([each["facts_current"] for each in document.document(values)["backends"]], [True, False])


class WhyTests(SynchronousTestCase):
    """Why a backend has its role, in words."""

    def why(self, *observations: Observation, number: int = 0, **more: Any) -> tuple[str, str]:
        told = report.make(view(*observations, **more)).backends[number]
        return told.role, told.why

    def test_selected_server_says_what_it_has(self) -> None:
        """Who serves says what it has."""
        self.assertEqual(self.why(well(A), well(B))[0], "selected")
        self.assertIn("15d of history; no healthy server has clearly more", self.why(well(A), well(B))[1])
        self.assertIn("as the only one", self.why(well(A))[1])
        self.assertIn("as a last resort", self.why(Observation(A, Standing.DOWN, "refused"))[1])
        self.assertIn("no better server", self.why(Observation(A, Standing.BUSY, "slots are taken"))[1])

    def test_newest_sample_of_a_server_that_has_stopped(self) -> None:
        """The age of its newest sample grows with the time since it has stopped, though it was read before."""
        stopped = well(A, lack=Lack(80, 80, NOW - 90, stopped=True))
        self.assertIn("1m 30s old", page(stopped, well(B)))

    def test_each_strategy_has_its_words(self) -> None:
        """The words are those of the strategy in force, of one from elsewhere too."""
        for strategy, words in (
            ("minimum-history:7d", "of the last 7d no server has clearly more"),
            ("random", "as every healthy server does"),
            ("mine:x", "routing strategy mine:x, with 15d of history"),
        ):
            self.assertIn(words, self.why(well(A), settings={"routing_strategy": strategy})[1])

    def test_standby_that_is_well(self) -> None:
        """A healthy standby does not look like a fault, and says what it lacks."""
        younger = well(B, facts_oldest=NOW - 86400)
        for observation, strategy, words in (
            (younger, "single-most-data", "prom-a:9090 was chosen with 15d of history; here it is 1d."),
            (well(B), "single-most-data", "15d of history here are not clearly more"),
            (younger, "minimum-history:7d", "It has 1d of history; of the last 7d prom-a:9090 has more."),
            (well(B), "mine", "chosen by the routing strategy"),
        ):
            role, why = self.why(well(A), observation, number=1, settings={"routing_strategy": strategy})
            self.assertEqual(role, "standby")
            self.assertIn(words, why)
            self.assertIn("a healthy standby", why)

    def test_ejected_server_says_since_when_and_why(self) -> None:
        """Who was taken out of service says since when and for what, whatever its last probe said."""
        out = well(A, standing=Standing.SUSPECT, why="3 requests in a row failed, the last: reset", ejected_at=NOW - 90)
        self.assertEqual(
            self.why(out, well(B), number=1, selected=(B,)),
            ("ejected", "Out of service for 1m 30s. 3 requests in a row failed, the last: reset."),
        )

    def test_names_keep_their_spelling(self) -> None:
        """A reason that begins with the name of a pod is shown as it is written; others begin with a capital."""
        for why, shown in (("prometheus-k8s-0 is not ready", "prometheus-k8s-0 is"), ("no response to /-/ready", "No response")):
            observation = Observation(B, Standing.NOT_READY, why)
            self.assertTrue(self.why(well(A), observation, number=1)[1].startswith(shown))

    def test_replaying_server_shows_progress_and_remaining_time(self) -> None:
        """A server that replays its WAL says how far it is and how long it still takes."""
        replaying = well(B, standing=Standing.NOT_READY, why="not ready", replay=Replay(3, 4, NOW - 44, 1))
        role, why = self.why(well(A), replaying, number=1)
        self.assertEqual((role, why), ("unusable", "It replays its WAL: 3 of 4 segments (75%), about 16s left."))

    def test_broken_storage_is_said_in_words(self) -> None:
        """A server that cannot read a block is not well, and the page says what the server said."""
        broken = well(A, unreadable="cannot populate chunk 8: checksum mismatch")
        found = report.make(view(broken, well(B)))
        self.assertEqual((found.level, found.backends[0].level), ("warn", "warn"))
        self.assertEqual(found.verdict, "One server cannot read a part of its storage. prom-a:9090 serves.")
        why = found.backends[0].why
        self.assertIn("so the queries that failed there go to other servers first: Cannot populate chunk 8", why)
        both = report.make(view(broken, well(B, unreadable="x"))).verdict
        self.assertTrue(both.startswith("Two servers cannot read a part of their storage."), both)

    def test_server_that_lacks_newest_data_is_marked(self) -> None:
        """A server without newest data is amber, and is not said to step in at once."""
        second = report.make(view(well(A), well(B, lack=Lack(80, 80, NOW - 60, stopped=True)))).backends[1]
        self.assertEqual(second.level, "warn")
        self.assertTrue(second.why.startswith("It has scraped none of "), second.why)

    def test_limited_server_is_marked(self) -> None:
        """Whoever looks for the cause of retries is told that there is a limiter."""
        first = report.make(view(well(A, limited=True), well(B))).backends[0]
        self.assertEqual(first.level, "warn")
        self.assertIn("rejects requests with 503, although the server is ready", first.why)

    def test_stale_server_is_marked(self) -> None:
        """A server that ingests nothing any more is not shown as well."""
        told = report.make(view(well(A, facts_newest=NOW - 900), well(B))).backends[0]
        self.assertEqual(told.level, "warn")

    def test_server_that_only_requests_vouch_for(self) -> None:
        """A server that serves although its probe is refused is not shown as well, and says why."""
        vouched = well(B, why="it responds to requests, but not to its probe: /-/ready responded 403")
        told = report.make(view(well(A, standing=Standing.SUSPECT, why="reset"), vouched, selected=(B,))).backends[0]
        self.assertEqual((told.role, told.level), ("selected", "warn"))
        self.assertIn("It responds to requests, but not to its probe: /-/ready responded 403. It serves", told.why)


class PageTests(SynchronousTestCase):
    """What an operator reads."""

    def test_every_backend_says_how_it_is(self) -> None:
        """Role, standing, version, uptime, history, freshness, targets, configuration, clock and probe are on the page."""
        html = page(well(A), DOWN)
        for words in (
            "http://prom-a:9090",
            ">selected<",
            "viable",
            "3.5.3",
            "1h",
            "15d, keeps 15d",
            "3s old",
            "1,234",
            "01234567",
        ):
            self.assertIn(words, html)
        for words in ("loaded 2h ago", "+0.2s", "4s ago, 12ms", "https://prom-b:9090/x", ">unusable<", "No response to /-/ready"):
            self.assertIn(words, html)
        self.assertIn("1 of 2 backends viable, 1 selected", html)

    def test_singular(self) -> None:
        """A count of one has its noun in the singular."""
        self.assertIn("1 of 1 backend viable, 1 selected", page(well(A)))
        self.assertEqual(str(Lack(1, 1, NOW, stopped=True)), "has scraped none of 1 target since 22:13:20 UTC")
        self.assertEqual([quantity(each, "user") for each in (0, 1, 1200)], ["0 users", "1 user", "1,200 users"])
        self.assertEqual([quantity(each, "entry", "entries") for each in (1, 2)], ["1 entry", "2 entries"])

    def test_clock_that_is_right(self) -> None:
        """A clock that is behind by less than can be told is not behind by nothing."""
        self.assertIn("+0.0s compared to mpp's", page(well(A, facts_skew=-0.04)))

    def test_last_minutes(self) -> None:
        """Requests, errors, latencies, retries, and what is under way are told with a picture."""
        recent = RecentTraffic(
            600.0,
            7500,
            75,
            3,
            0.0042,
            1.25,
            (TrafficSlot(10.0, 100, 1, 1, "selected"),),
            TrafficSpan(12.0, 360, 180, 2, 0.3, 2.5),
        )
        html = page(well(A), recent={A.name: recent}, load={A.name: (5, 2)})
        for words in (
            "12.5/s",
            ">1.0%<",
            "4.2ms",
            "1.25s",
            ">3<",
            "</span> 5 + 2 waiting",
            "<svg",
            'class="err"',
            "s-selected",
        ):
            self.assertIn(words, html)

    def test_current_rates_stand_beside_the_last_ten_minutes(self) -> None:
        """What happens now stands beside the last ten minutes, and alone as long as these are no longer."""
        latest = TrafficSpan(12.0, 360, 180, 2, 0.3, 2.5)
        html = page(well(A), recent={A.name: RecentTraffic(600.0, 600, 180, 2, 0.001, 0.002, latest=latest)})
        now, _, long = html.partition("<th>now</th>")[2].partition("<th>10m</th>")
        for row, words in ((now, ("30.0/s", "50%", "300ms", "2.5s", "<td>2<")), (long, ("1.0/s", "30%", "1ms", "2ms"))):
            for each in words:
                self.assertIn(each, row)
        young = page(well(A), recent={A.name: RecentTraffic(12.0, 360, 180, 2, 0.3, 2.5, latest=latest)})
        self.assertIn("<th>now</th>", young)
        self.assertNotIn("<th>12s</th>", young)

    def test_server_that_is_down_has_no_uptime(self) -> None:
        """The page does not tell for how long a server runs that does not run."""
        html = page(Observation(A, Standing.DOWN, "refused", ServerState("2.42.0", NOW - 5 * 86400), NOW))
        self.assertNotIn("<dd>5d</dd>", html)
        self.assertIn("not running", html)

    def test_progress_of_a_replay(self) -> None:
        """The replay of a WAL has a bar."""
        html = page(well(A), well(B, standing=Standing.NOT_READY, replay=Replay(3, 4, NOW, 3)))
        self.assertIn('<progress value="3" max="4">75%</progress>', html)

    def test_replay_is_no_alarm(self) -> None:
        """A server that replays its WAL, as each one does at its start, is amber; one that is only not ready is red."""
        replaying = well(B, standing=Standing.NOT_READY, why="not ready", replay=Replay(3, 4, NOW, 3))
        for observation, level in (
            (replaying, "warn"),
            (evolve(replaying, ejected_at=NOW - 9), "warn"),
            (evolve(replaying, replay=None), "bad"),
        ):
            told = report.make(view(well(A), observation))
            self.assertEqual(told.backends[1].level, level)
            self.assertIn(
                f'class="card {level} unusable"' if not observation.ejected_at else f'class="card {level} ejected"',
                page(well(A), observation),
            )
        selection = view(well(A), replaying).selection
        self.assertEqual([report.state(o, selection) for o in selection.observations], ["selected", "replaying"])

    def test_differences_in_a_pair_are_shown_with_values(self) -> None:
        """What differs in a pair is told with the values of both; nothing of it when there is one server."""
        html = page(well(A), well(B, facts_version="2.42.0", facts_reload_ok=False))
        for words in ("different versions", ">prom-a:9090</a>: 3.5.3", ">prom-b:9090/x</a>: 2.42.0", "the last reload failed"):
            self.assertIn(words, html)
        self.assertIn("report no difference", page(well(A), well(B)))
        noted = page(well(A, facts_external_labels=(("r", "a"),)), well(B, facts_external_labels=(("r", "b"),)))
        self.assertIn('<th class="soft">external labels</th>', noted)
        self.assertIn(">prom-a:9090</a>: r=&quot;a&quot;", noted)
        self.assertIn(">prom-b:9090/x</a>: r=&quot;b&quot;", noted)
        self.assertNotIn("Drift", page(well(A)))

    def test_names_are_links(self) -> None:
        """A server's name leads to its card wherever it is told, and the card to the server itself."""
        events = (Event(NOW, "ejection", "prom-b:9090/x is ejected, down: refused by prom-b:9090 (prom-a:9090)."),)
        html = page(well(A), well(B, facts_version="2.42.0"), events=events)
        self.assertIn(f'<article id="server-{A.id}"', html)
        self.assertIn(f'<h3><a href="{B.url}/" rel="noreferrer">{B.url}</a></h3>', html)
        link = f'<a href="#server-{A.id}">prom-a:9090</a>'
        self.assertIn(f"Both servers are healthy; {link} serves.", html)
        self.assertIn(f"{link} was chosen", html)
        other = f'<a href="#server-{B.id}">prom-b:9090/x</a>'
        self.assertIn(f"<td>{other} is ejected, down: refused by prom-b:9090 ({link}).</td>", html)
        self.assertNotIn("<", linked(FOREIGN, {}))

    def test_drift_of_many(self) -> None:
        """Of many servers those that are alike are one line, and the odd one out comes first."""
        many = [well(Backend("http", f"s{n:02}", 9090), facts_skew=0.1 * (n % 3)) for n in range(20)]
        many[7] = evolve(many[7], facts=evolve(many[7].facts, version="2.42.0", skew=30.0))
        drift = page(*many).partition('<section id="drift">')[2].partition("</section>")[0]
        self.assertLess(drift.index("</a>: 2.42.0"), drift.index("and 15 others</span>: 3.5.3"))
        self.assertIn("</a>: +30.0s", drift)
        self.assertIn("and 15 others</span>: +0.0s to +0.2s", drift)
        self.assertEqual(drift.count("<tr>"), 2)

    def test_what_cannot_be_known_is_not_shown_as_good(self) -> None:
        """While both servers are down they are not said to be alike; a server that answered nothing has no share of errors."""
        html = page(evolve(DOWN, backend=A), DOWN, selected=())
        self.assertNotIn("report no difference", html)
        self.assertIn("fewer than two servers can be compared", html)
        self.assertIn("<td>-</td>", html)
        served = page(well(A), well(B), recent={A.name: RecentTraffic(600.0, 10), B.name: RecentTraffic(600.0, 10)})
        self.assertIn("<td>0%</td>", served)

    def test_events_are_shown_newest_first(self) -> None:
        """What happened is told with time and reason, newest first."""
        events = (Event(NOW - 61, "ejection", "prom-b is ejected, down: refused"), Event(NOW - 3600, "return", "it is back"))
        html = page(well(A), events=events)
        self.assertIn("22:12:19 UTC, 1m 1s ago", html)
        self.assertLess(html.index("prom-b is ejected, down: refused"), html.index("it is back"))
        self.assertIn("No event since", page(well(A)))

    def test_configuration_is_shown(self) -> None:
        """The page tells which strategy and affinity are in force, and where backends come from."""
        html = page(well(A), locators=(LocatorView("file", True, 2), LocatorView("dns", False, 1, "no such name")))
        for words in ("single-most-data", "cookies", "10s", "2 backends", "no such name", "generation 3, changed 1m ago", "2h"):
            self.assertIn(words, html)

    def test_old_servers_tell_little(self) -> None:
        """A 1.x server, of which little is known, has its row too."""
        html = page(Observation(A, Standing.VIABLE, facts=ServerState("1.8.2", samples=12345678.0, read_at=NOW)))
        self.assertIn("12,345,678 samples ingested", html)
        for words in ("Newest sample", "Targets", "Clock", "None"):
            self.assertNotIn(words, html)

    def test_twenty_backends(self) -> None:
        """Of many servers those who are not well come first, then those who serve; what they tell of themselves is folded."""
        many = [well(Backend("http", f"prom-{number:02}", 9090)) for number in range(20)]
        many[13] = evolve(many[13], standing=Standing.DOWN, why="refused")
        html = page(*many, selected=(many[7].backend,))
        self.assertEqual(html.count("<article"), 20)
        self.assertLess(html.index("http://prom-13:9090"), html.index("http://prom-07:9090"))
        self.assertLess(html.index("http://prom-07:9090"), html.index("http://prom-00:9090"))
        self.assertEqual(html.count("<details"), 20)


def foreign_view() -> StatusView:
    """Return a view in which all that others may write is as bad as can be."""
    return view(
        Observation(
            A, Standing.DOWN, FOREIGN, ServerState(FOREIGN, config_hash=FOREIGN, config_at=1.0, read_at=1.0), ejected_at=1.0
        ),
        well(B, facts_version=FOREIGN, facts_config_hash=FOREIGN),
        well(C, facts_version="1", facts_config_hash="2"),
        selected=(B,),
        degraded=FOREIGN,
        settings={"routing_strategy": FOREIGN, "affinity_options": (FOREIGN,)},
        locators=(LocatorView(FOREIGN, False, 1, FOREIGN),),
        events=(Event(NOW, FOREIGN, FOREIGN),),
    )


class ForeignWordsTests(SynchronousTestCase):
    """What servers and operators write is text, whatever it looks like."""

    def test_nothing_becomes_markup(self) -> None:
        """Nothing that a server says becomes an element or an attribute."""
        for name, value in (("a", foreign_view()), ("b", view(well(A), well(B), selected=(A, B)))):
            html = pages.render(value).decode()
            found = Elements(html).found
            self.assertEqual([tag for tag, _ in found if tag in ("script", "img")], ["script"], name)
            self.assertEqual([a for _, attributes in found for a in attributes if a.startswith(("on", "style"))], [], name)
        self.assertNotIn("\u202e", pages.render(foreign_view()).decode())


class ConfinedTests(SynchronousTestCase):
    """The page under a strict Content-Security-Policy."""

    def test_policy_allows_what_is_on_the_page_and_nothing_else(self) -> None:
        """The style and the script on the page are those whose hashes the policy names."""
        html = page(well(A))
        for tag in ("style", "script"):
            (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
            self.assertIn(f"{tag}-src 'sha256-{digest}'", CONTENT_SECURITY_POLICY.decode())
        self.assertTrue(CONTENT_SECURITY_POLICY.startswith(b"default-src 'none'; "))
        self.assertNotIn(b"unsafe", CONTENT_SECURITY_POLICY)

    def test_page_is_self_contained(self) -> None:
        """The page loads nothing from anywhere; its links stay on mpp."""
        for tag, attributes in Elements(page(well(A))).found:
            self.assertNotIn("src", attributes)
            link = attributes.get("href") or attributes.get("action") or ""
            self.assertRegex(
                link,
                r"^(data:image/svg\+xml,.*|status\?format=json|metrics|config|explain|#server-[0-9a-f]{16}|https?://prom-[abc]:9090/(x/)?)?$",
                tag,
            )
        for word in ("@import", "url("):
            self.assertNotIn(word, page(well(A)))

    def test_page_renews_itself_without_scripts(self) -> None:
        """Where scripts are off the browser loads the page again."""
        self.assertIn('<noscript><meta http-equiv="refresh" content="10"></noscript>', page(well(A)))


PAGE = (Path(__file__).parents[3] / "docs/reference/status-page.rst").read_text(encoding="utf-8")


def keys(value: object, path: str = "") -> set[str]:
    """Return the paths of all values in a JSON value that hold no others; ``[]`` for the elements of a list."""
    if isinstance(value, dict):
        return set[str]().union(*(keys(each, f"{path}.{key}".lstrip(".")) for key, each in value.items()))
    if isinstance(value, list):
        return set[str]().union(*(keys(each, f"{path}[]") for each in value))
    return {path}


class DocumentTests(SynchronousTestCase):
    """The same, for programs."""

    def full(self) -> dict[str, Any]:
        """Return a document in which every key has a value."""
        recent = RecentTraffic(600.0, 7500, 75, 3, 0.0042, 1.25, (TrafficSlot(10.0, 100, 1, 1, "selected"),))
        replaying = well(B, standing=Standing.NOT_READY, why="not ready", replay=Replay(3, 4, NOW - 44, 1))
        gap = Intervals.of([(NOW - 900, NOW - 600)])
        value = view(
            well(A),
            replaying,
            well(C, facts_targets=7),
            recent={A.name: recent, B.name: recent, C.name: recent},
            events=(Event(NOW, "return", "it is back"),),
            identity=Identity("gateway-1", 4711, ("0.0.0.0:9090",)),
            coverage=Coverage({"node": Job(80, 30.0)}, {A: Missing.of(gap, {}, {"app": 2})}, gap.shift(-1000)),
            looked_back={A: Progress(NOW - 3600, again=Intervals.of([(NOW - 900, NOW)]))},
        )
        return dict(json.loads(document.render(value)))

    def test_document_says_what_the_page_says(self) -> None:
        """Verdict, roles, reasons and numbers are those of the page."""
        found = self.full()
        self.assertEqual(found["schema"], 1)
        told = "One server replays its WAL. prom-a:9090 serves. The servers are not alike (targets), see Drift."
        self.assertEqual(found["verdict"], {"level": "warn", "text": told})
        first = next(each for each in found["backends"] if each["name"] == B.name)
        self.assertEqual((first["role"], first["url"], first["standing"]), ("unusable", "https://prom-b:9090/x", "not_ready"))
        self.assertEqual(first["wal_replay"], {"done": 3, "total": 4, "share": 0.75, "seconds_left": 20.0})
        self.assertEqual((found["backends"][0]["recent"]["requests_per_second"], found["drift"][0]["kind"]), (12.5, "targets"))

    def test_every_key_is_documented_and_there(self) -> None:
        """The documentation names every key of the document, and no other."""
        table = PAGE.partition(".. _status-json:")[2]
        documented = set(re.findall(r"^   \* - ``([a-z0-9_.\[\]*]+)``", table, re.MULTILINE))
        # Who has no replay has null in its place, and the values of a difference have the backends' names as keys.
        found = {re.sub(r"values\..*", "values.*", key) for key in keys(self.full())} - {"backends[].wal_replay"}
        self.assertEqual(documented, found)

    def test_foreign_words_and_unknown_values(self) -> None:
        """The document is JSON whatever servers say, and what is not known is null."""
        value = view(Observation(A, Standing.DOWN, FOREIGN, ServerState(FOREIGN)))
        found = json.loads(document.render(value))
        self.assertEqual(found["backends"][0]["version"], FOREIGN)
        for key in ("history_seconds", "newest_sample_age_seconds", "targets", "clock_skew_seconds", "wal_replay", "ejected_at"):
            self.assertIsNone(found["backends"][0][key], key)


class PictureTests(SynchronousTestCase):
    """The last minutes, drawn."""

    def test_sparkline_has_a_bar_for_each_slot(self) -> None:
        """There is a bar for each slot, at most as many as fit; what was rare can be seen; nothing is drawn of nothing."""
        slots = (TrafficSlot(10.0, 0, 0, 0, "standby"), TrafficSlot(10.0, 1000, 1, 0, "selected"))
        drawn = picture(RecentTraffic(slots=slots))
        self.assertEqual((drawn.count('class="ok"'), drawn.count('class="err"'), drawn.count("s-")), (1, 1, 2))
        self.assertIn('height="1.5"', drawn)
        self.assertIn("peak 100/s", drawn)
        self.assertEqual(picture(RecentTraffic(slots=slots * SLOTS)).count("s-selected"), SLOTS // 2)
        self.assertNotIn("<rect", picture(RecentTraffic(slots=(TrafficSlot(10.0, 0, 0, 0, ""),))))


class WordsTests(SynchronousTestCase):
    """Numbers for humans."""

    def test_two_largest_units(self) -> None:
        """A duration is as exact as a human needs it."""
        for seconds, text in (
            (0.25, "250ms"),
            (-5, "0ms"),
            (1, "1s"),
            (61, "1m 1s"),
            (3600, "1h"),
            (93784, "1d 2h"),
            (86405, "1d"),
        ):
            self.assertEqual(duration(seconds), text)

    def test_numbers_are_short_and_small_ones_not_zero(self) -> None:
        """Rates, shares, latencies and lists are short, and what is little is not nothing."""
        self.assertEqual([rate(n) for n in (0, 0.05, 0.5, 12.34, 1234.5)], ["0.0/s", "3.0/min", "0.5/s", "12.3/s", "1,234/s"])
        self.assertEqual([share(n) for n in (0, 0.0001, 0.0123, 0.5, 1)], ["0%", "<0.1%", "1.2%", "50%", "100%"])
        self.assertEqual([latency(n) for n in (None, 0.00042, 0.9999, 12, 1093)], ["-", "0.42ms", "1s", "12s", "18m 13s"])
        self.assertEqual([ago(0.2), ago(61)], ["just now", "1m 1s ago"])
        self.assertEqual([number(1), number(20)], ["One", "20"])
        self.assertEqual(
            [listing(["a"]), listing(["a", "b", "c"]), listing(list("abcdef"))], ["a", "a, b and c", "a, b, c and 3 others"]
        )
        self.assertEqual(listing([]), "")
