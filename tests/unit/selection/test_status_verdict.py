"""The verdict: what mpp says of each situation, and that all who say it say the same."""

from __future__ import annotations

import re
from typing import Any

from attrs import evolve
from prometheus_client import CollectorRegistry
from twisted.trial.unittest import SynchronousTestCase

from mpp.admin import explain_page as explained
from mpp.admin.gauges import GaugeCollector, Snapshot
from mpp.admin.status import html_page as page
from mpp.admin.status import json_document as document
from mpp.admin.status.data import StatusView
from mpp.admin.status.identity import Identity
from mpp.app import systemd as notify
from mpp.core.facts import Lack, Replay
from mpp.core.metrics.local_errors import OVER_S, QUIET_S, LocalErrors, follow
from mpp.core.model import Backend, Choice, Observation, RequestInfo, Selection, Standing
from mpp.core.settings import Settings
from mpp.proxy.decisions.affinity import AffinityChain
from mpp.proxy.decisions.explain import explain
from mpp.security.web_config.protection import ListenerSecurity
from mpp.selection.query_of_death import SuspectQueries
from mpp.selection.strategies import MinimumHistory, SingleMostData
from mpp.selection.verdict.verdict import ConfigProblem, LocatorView, Situation, VerdictState, judge
from tests.status_support import NOW, A, B, unplanned, well

C = Backend("http", "prom-c", 9090)
SINCE = NOW - 60
ERRORS = LocalErrors(SINCE, NOW, {503: 240})


def down(backend: Backend) -> Observation:
    """Return a server that is down."""
    return Observation(backend, Standing.DOWN, "connect: refused")


def unready(backend: Backend, **changed: Any) -> Observation:
    """Return a server that says that it is not ready."""
    return Observation(backend, Standing.NOT_READY, "not ready", **changed)


def situation(*observations: Observation, strategy: Any = None, **more: Any) -> Situation:
    """Return the situation after a round that saw these, with the choice that a strategy makes."""
    choice = (strategy or SingleMostData()).select(observations, None, NOW)
    more.setdefault("locators", (LocatorView("file", True, len(observations)),))
    return Situation(Selection(3, choice, observations, NOW - 60), **more)


class NoneSelected:
    """A strategy that selects none."""

    def select(self, observations: tuple[Observation, ...], previous: object, now: float) -> Choice:
        return Choice((), tuple(o.backend for o in observations))


EJECTED = well(B, standing=Standing.SUSPECT, why="3 requests failed", ejected_at=NOW - 9)
LOST = LocatorView("dns", False, 2, "no answer within 3 s")
NEVER = LocatorView("dns", False, 0, "no answer within 3 s")
EMPTY = LocatorView("kube", True, 0)
NOTHING = LocatorView("kube", True, 0, "the service prom in the namespace monitoring has no endpoints")
HELD = LocatorView("file-sd", True, 2, "the list is empty now, the last one stays for 60 s")

TABLE: tuple[tuple[str, Situation, str, tuple[str, ...], str], ...] = (
    ("first round", Situation(Selection()), "warn", ("starting",), "mpp has not finished its first selection round."),
    ("both well", situation(well(A), well(B)), "good", ("well",), "Both servers are healthy; prom-a:9090 serves."),
    (
        "one server",
        situation(well(A)),
        "good",
        ("well",),
        "The only server is healthy; prom-a:9090 serves. There is no second one.",
    ),
    (
        "one down",
        situation(well(A), down(B)),
        "warn",
        ("server_unwell",),
        "One server is down. prom-a:9090 serves.",
    ),
    ("one ejected", situation(well(A), EJECTED), "warn", ("server_unwell",), "One server is ejected. prom-a:9090 serves."),
    (
        "both down, no client asks",
        situation(down(A), down(B)),
        "bad",
        ("all_down",),
        "Both servers are down. Requests are answered 503 until one is back.",
    ),
    (
        "both down, clients ask",
        situation(down(A), down(B), errors=ERRORS),
        "bad",
        ("all_down", "client_errors"),
        "Both servers are down. Clients get 503 since 22:12:20 UTC, 240 so far.",
    ),
    (
        "the only one down",
        situation(down(A)),
        "bad",
        ("all_down",),
        "The only server is down. Requests are answered 503 until one is back.",
    ),
    (
        "one down, one replays its WAL",
        situation(down(A), unready(C, replay=Replay(1, 4, NOW - 9, 1))),
        "bad",
        ("last_resort",),
        "No server is ready. One server is down, one server replays its WAL. As a last resort requests are sent to prom-c:9090.",
    ),
    (
        "the source holds all not to be ready, and they fail",
        situation(unready(A), unready(C), errors=ERRORS),
        "bad",
        ("last_resort", "client_errors"),
        "No server is ready. Two servers are not ready. As a last resort requests are sent to prom-a:9090 and prom-c:9090."
        " Clients get 503 since 22:12:20 UTC, 240 so far.",
    ),
    (
        "all suspect",
        situation(Observation(A, Standing.SUSPECT, "reset"), down(B)),
        "bad",
        ("last_resort",),
        "No server is healthy. As a last resort prom-a:9090 serves.",
    ),
    (
        "all are busy",
        situation(Observation(A, Standing.BUSY, "slots are taken")),
        "warn",
        ("degraded",),
        "No backend is viable, the best is busy. One server is busy.",
    ),
    (
        "too little history",
        situation(well(A), well(B), strategy=MinimumHistory(30 * 86400.0)),
        "warn",
        ("degraded",),
        "No usable backend holds 30d of history; prom-a:9090 holds the most (15d). prom-a:9090 and prom-b:9090/x serve.",
    ),
    (
        "a strategy selects none",
        situation(well(A), well(B), strategy=NoneSelected()),
        "warn",
        ("none_selected",),
        "Both servers are healthy. The routing strategy selects none; requests are sent to prom-a:9090, the best standby.",
    ),
    (
        "clients get errors although the servers are healthy",
        situation(well(A), well(B), errors=LocalErrors(SINCE, NOW, {504: 2, 502: 1})),
        "warn",
        ("client_errors",),
        "Both servers are healthy; prom-a:9090 serves. But clients get 502 and 504 since 22:12:20 UTC, 3 so far.",
    ),
    (
        "no server is known",
        situation(),
        "bad",
        ("no_server_known", "discovery_empty"),
        "No Prometheus server is known. No request can be answered. The locator file: its source lists no server.",
    ),
    (
        "the source was never read",
        situation(locators=(NEVER,)),
        "bad",
        ("no_server_known", "discovery_failed"),
        "No Prometheus server is known. No request can be answered. The locator dns gives no usable list of servers;"
        " no list is known yet.",
    ),
    (
        "a source cannot be read",
        situation(well(A), well(B), locators=(LOST,)),
        "warn",
        ("discovery_failed",),
        "Both servers are healthy; prom-a:9090 serves. But the locator dns gives no usable list of servers; the last good list"
        " stays.",
    ),
    (
        "a second source finds nothing",
        situation(well(A), well(B), locators=(LocatorView("file", True, 2), EMPTY)),
        "warn",
        ("discovery_empty",),
        "Both servers are healthy; prom-a:9090 serves. But the locator kube: its source lists no server.",
    ),
    (
        "a source finds nothing, and says what it looked for",
        situation(locators=(NOTHING,)),
        "bad",
        ("no_server_known", "discovery_empty"),
        "No Prometheus server is known. No request can be answered."
        " The locator kube: the service prom in the namespace monitoring has no endpoints.",
    ),
    (
        "an empty list is not believed yet",
        situation(well(A), well(B), locators=(HELD,)),
        "warn",
        ("discovery_empty",),
        "Both servers are healthy; prom-a:9090 serves."
        " But the locator file-sd: the list is empty now, the last one stays for 60 s.",
    ),
    (
        "a server has stopped scraping",
        situation(well(A), well(B, lack=Lack(80, 80, NOW - 600, stopped=True))),
        "warn",
        ("server_unwell", "lacking"),
        "One server lacks newest data. prom-a:9090 serves. prom-b:9090/x has scraped none of 80 targets since 22:03:20 UTC.",
    ),
    (
        "two servers lack targets",
        situation(well(A), well(B, lack=Lack(20, 80, NOW - 600)), well(C, lack=Lack(80, 80, NOW, stopped=True, back=True))),
        "warn",
        ("server_unwell", "lacking"),
        "Two servers lack newest data. prom-a:9090 serves. prom-b:9090/x has scraped only 60 of 80 targets since 22:03:20 UTC."
        " prom-c:9090 is just back, and has scraped 0 of 80 targets so far.",
    ),
    (
        "a backend is mpp itself",
        situation(well(A), well(B), unready(C, is_self=True)),
        "warn",
        ("itself",),
        "Both servers are healthy; prom-a:9090 serves. But the backend prom-c:9090 is this mpp itself and not used.",
    ),
    (
        "a server is being stopped",
        situation(well(A), well(B), unready(C, leaving=True)),
        "good",
        ("well",),
        "Both servers are healthy; prom-a:9090 serves."
        " But prom-c:9090 is being stopped according to the source; it is used only when no better one is left.",
    ),
    (
        "a server is being stopped, the other one is down",
        situation(down(A), unready(C, leaving=True)),
        "bad",
        ("last_resort",),
        "No server is ready. One server is down, one server is being stopped. As a last resort requests are sent to prom-c:9090.",
    ),
    (
        "all servers are being stopped",
        situation(unready(A, leaving=True), unready(C, leaving=True)),
        "bad",
        ("last_resort",),
        "No server is ready. Two servers are being stopped. As a last resort requests are sent to prom-a:9090 and prom-c:9090.",
    ),
    (
        "mpp itself is all that is left",
        situation(down(A), unready(C, is_self=True)),
        "bad",
        ("all_down", "itself"),
        "The only server is down. Requests are answered 503 until one is back."
        " The backend prom-c:9090 is this mpp itself and not used.",
    ),
    (
        "mpp itself is all that is known",
        situation(unready(C, is_self=True)),
        "bad",
        ("no_server_known", "itself"),
        "No Prometheus server is known. No request can be answered. The backend prom-c:9090 is this mpp itself and not used.",
    ),
    (
        "a refused configuration",
        situation(well(A), well(B), config=ConfigProblem("mpp.yaml:2: retries")),
        "warn",
        ("config_refused",),
        "Both servers are healthy; prom-a:9090 serves."
        " But the configuration on disk is rejected (mpp.yaml:2: retries, see the log); a restart would fail.",
    ),
    (
        "a configuration that needs a restart",
        situation(well(A), well(B), config=ConfigProblem("--workers", needs_restart=True)),
        "warn",
        ("config_needs_restart",),
        "Both servers are healthy; prom-a:9090 serves. But the configuration on disk needs a restart (--workers).",
    ),
    (
        "a refused web configuration",
        situation(well(A), well(B), web_config="line 3: no such key"),
        "warn",
        ("web_config_refused",),
        "Both servers are healthy; prom-a:9090 serves. But a change of the web configuration is not active.",
    ),
    (
        "a worker is missing",
        situation(well(A), well(B), workers=(1, 2)),
        "warn",
        ("workers_missing",),
        "Both servers are healthy; prom-a:9090 serves. But 1 of 2 workers does not run.",
    ),
    (
        "the servers differ",
        situation(well(A), well(B, facts_targets=7, facts_external_labels=(("r", "b"),))),
        "warn",
        ("drift",),
        "Both servers are healthy; prom-a:9090 serves. But the servers are not alike (targets), see Drift.",
    ),
    (
        "one server with two addresses",
        situation(well(A, facts_started_at=1e9 + 0.123456), well(B, facts_started_at=1e9 + 0.123456)),
        "warn",
        ("drift",),
        "Both servers are healthy; prom-a:9090 serves. But several addresses lead to one server, see Drift.",
    ),
    (
        "one server with two addresses, beside another one",
        situation(
            well(A, facts_started_at=1e9 + 0.123456), well(B, facts_started_at=1e9 + 0.123456), well(C, facts_version="2.42.0")
        ),
        "warn",
        ("drift",),
        "All 3 servers are healthy; prom-a:9090 serves. But several addresses lead to one server and the servers are not alike"
        " (version), see Drift.",
    ),
    (
        "much at once",
        situation(down(A), down(B), errors=ERRORS, config=ConfigProblem("--port"), locators=(LOST,), workers=(0, 2)),
        "bad",
        ("all_down", "client_errors", "config_refused", "discovery_failed", "workers_missing"),
        "Both servers are down. Clients get 503 since 22:12:20 UTC, 240 so far."
        " The configuration on disk is rejected (--port, see the log); a restart would fail."
        " The locator dns gives no usable list of servers; the last good list stays. 2 of 2 workers do not run.",
    ),
)


class VerdictTests(SynchronousTestCase):
    """The table."""

    def test_each_situation_has_its_level_states_and_text(self) -> None:
        """Each situation has its level, its states and its words."""
        for name, given, level, states, text in TABLE:
            verdict = judge(given)
            found = verdict.level, tuple(state.value for state in verdict.states), verdict.text
            self.assertEqual(found, (level, states, text), name)

    def test_every_state_has_a_row(self) -> None:
        """No state is left out of the table."""
        self.assertEqual({state for _, _, _, states, _ in TABLE for state in states}, {state.value for state in VerdictState})

    def test_green_is_green(self) -> None:
        """Whatever is not well is not shown as good, and what is shown as good has nothing to be said against it."""
        for name, _, level, states, _ in TABLE:
            self.assertEqual(level == "good", states == ("well",), name)

    def test_names_keep_their_spelling(self) -> None:
        """The name of a pod that begins a sentence does not get a capital letter."""
        degraded = situation(well(A))
        selection = evolve(degraded.selection, choice=evolve(degraded.selection.choice, degraded="prometheus-0 is gone"))
        self.assertTrue(judge(evolve(degraded, selection=selection)).text.startswith("prometheus-0 is gone. "))


class OneVoiceTests(SynchronousTestCase):
    """Page, JSON, metric, explanation and service manager say the same in every situation."""

    def view(self, given: Situation) -> StatusView:
        guards = ListenerSecurity(problem=given.web_config)
        settings = Settings(workers=given.workers[1])
        running, errors, config = given.workers[0], given.errors, given.config
        return StatusView(
            *(given.selection, settings, given.locators, NOW - 7200, NOW),
            security=guards,
            workers=running,
            errors=errors,
            config=config,
        )

    def test_page_and_document(self) -> None:
        """Level and words are those of the verdict."""
        for name, given, level, _, text in TABLE:
            view = self.view(given)
            self.assertEqual(document.document(view)["verdict"], {"level": level, "text": text}, name)
            shown = re.sub(r"</?a[^>]*>", "", page.render(view).decode())
            self.assertIn(f'<section id="verdict" class="verdict {level}"><p>{text}</p>', shown, name)

    def test_metric_has_a_sample_for_each_state(self) -> None:
        """There is a sample for each state, 1 for those that hold."""
        for name, given, _, states, _ in TABLE:
            registry = CollectorRegistry()
            registry.register(GaugeCollector(lambda given=given: Snapshot(given.selection, (), 0, states=judge(given).states)))
            for state in VerdictState:
                value = registry.get_sample_value("mpp_verdict", {"state": state.value})
                self.assertEqual(value, float(state.value in states), f"{name}: {state}")

    def test_explanation_agrees_with_the_verdict(self) -> None:
        """No answer is promised while no server can be reached, and none without reserve while none is usable."""
        facts = RequestInfo(b"GET", b"/api/v1/query?query=up", (), b"", "203.0.113.9")
        for name, given, _, states, text in TABLE:
            told = explain(facts, given.selection, AffinityChain(()), Settings(), 1.0, SuspectQueries(lambda: 1.0), unplanned)
            if "itself" in states or states[0] == "starting":
                continue
            self.assertEqual(told.outcome == "unavailable", states[0] in ("all_down", "no_server_known"), name)
            self.assertEqual(told.level == "bad", states[0] in ("all_down", "no_server_known", "last_resort"), name)
            if told.level == "bad":
                self.assertTrue(text.startswith(told.servers) and told.verdict.endswith(told.servers), f"{name}: {told.verdict}")
                self.assertNotIn("would answer this.", told.verdict.replace("No server would answer this.", ""))
            self.assertIn(f'<section class="verdict {told.level}">', explained.as_page(told, Identity()).decode(), name)

    def test_explanation_of_both_down(self) -> None:
        """The answer says that there would be none; who would be tried is told nevertheless."""
        facts = RequestInfo(b"GET", b"/api/v1/query?query=up", (), b"", "203.0.113.9")
        given = situation(down(A), down(C))
        told = explain(facts, given.selection, AffinityChain(()), Settings(), 1.0, SuspectQueries(lambda: 1.0), unplanned)
        self.assertEqual(told.verdict, "No server would answer this. Both servers are down.")
        self.assertEqual((told.backends, told.next_backends), (("prom-a:9090",), ("prom-c:9090",)))

    def test_service_manager(self) -> None:
        """Its line begins with the verdict on the servers when none is well."""
        for _, given, level, states, text in TABLE:
            if level == "bad" and "itself" not in states and states[0] != "no_server_known":
                line = notify.describe(given.selection).partition(";")[0]
                self.assertTrue(text.startswith(line), line)


class LocalErrorsTests(SynchronousTestCase):
    """A run of errors that mpp itself answers."""

    def test_while_it_lasts(self) -> None:
        """It is counted from its first error on, by code."""
        first = follow(None, {503: 2, 504: 0}, 100.0, usable=False)
        self.assertEqual(first, LocalErrors(100.0, 100.0, {503: 2}))
        self.assertEqual(follow(first, {503: 1, 504: 4}, 103.0, usable=False), LocalErrors(100.0, 103.0, {503: 3, 504: 4}))

    def test_nobody_asks(self) -> None:
        """While no server is usable it goes on although no client asks."""
        run = LocalErrors(100.0, 100.0, {503: 2})
        self.assertEqual(follow(run, {}, 10_000.0, usable=False), run)

    def test_run_of_errors_ends_after_a_while(self) -> None:
        """It is over when a server is usable and no error came for a while."""
        run = LocalErrors(100.0, 130.0, {503: 2})
        self.assertIsNotNone(follow(run, {}, 130.0 + OVER_S - 1, usable=True))
        self.assertIsNone(follow(run, {503: 0}, 130.0 + OVER_S, usable=True))
        self.assertEqual(run.summary, "clients got 503 from 00:01:40 to 00:02:10 UTC, 2 in all")

    def test_past_tense(self) -> None:
        """When a server is usable and no error came for some seconds, the text does not say that clients still get errors."""
        run = LocalErrors(100.0, 130.0, {503: 2})
        self.assertEqual(follow(run, {}, 130.0 + QUIET_S - 1, usable=True), run)
        self.assertEqual(follow(run, {}, 130.0 + QUIET_S, usable=False), run)
        quiet = follow(run, {}, 130.0 + QUIET_S, usable=True)
        assert quiet is not None
        self.assertEqual(quiet.text, "clients got 503 from 00:01:40 to 00:02:10 UTC, 2 in all")
        again = follow(quiet, {503: 1}, 135.0, usable=True)
        assert again is not None
        self.assertEqual(again.text, "clients get 503 since 00:01:40 UTC, 3 so far")

    def test_reset_counter_is_no_error(self) -> None:
        """Without errors there is no run, and a counter that was set back is no error."""
        self.assertIsNone(follow(None, {503: 0}, 1.0, usable=True))
        self.assertIsNone(follow(None, {503: -5}, 1.0, usable=True))
