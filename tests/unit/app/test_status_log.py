"""What the log says of how things stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mpp.app.client_side import ParentLink, Role
from mpp.app.logs.observer import LineObserver
from mpp.app.logs.repeats import RepeatFilter
from mpp.app.program import Program
from mpp.app.status_log import BURST, PACE_S, REMIND_S, StatusLog
from mpp.app.workers.remote_selections import RemoteSelections
from mpp.core.metrics.local_errors import OVER_S
from mpp.core.model import Choice, Observation, Selection, Standing
from mpp.core.settings import DiscoverySettings, Settings
from mpp.discovery.kinds.endpoint import EndpointSettings
from mpp.selection.verdict.verdict import ConfigProblem, Situation
from tests.logged import logged
from tests.status_support import NOW, A, B, well

WELL = Selection(1, Choice((A,), (B,)), (well(A), well(B)))
DOWN = Selection(2, Choice((), (A, B)), tuple(Observation(each, Standing.DOWN, "refused") for each in (A, B)))


def _line(event: Mapping[str, Any]) -> str:
    if event.get("log_namespace") != "mpp.app.status_log":
        return ""
    return f"{event['log_level'].name} {formatEvent(event)}"  # type: ignore[arg-type]


class StatusLogTests(SynchronousTestCase):
    """A pair that is well, and what becomes of it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.now = Situation(Selection())
        self.counts = {503: 0, 504: 0}
        self.lines = logged(self, _line)
        self.log = StatusLog(
            lambda: evolve(self.now, errors=self.log.errors),
            lambda: dict(self.counts),
            self.clock,
            lambda: NOW + self.clock.seconds(),
        )
        self.log.startService()

    def look(self, seconds: int = 1) -> list[str]:
        """Let time go by, and return what was logged meanwhile."""
        before = len(self.lines)
        self.clock.pump([1.0] * seconds)
        return self.lines[before:]

    def become(self, selection: Selection = WELL, **changed: Any) -> list[str]:
        self.now = Situation(selection, **changed)
        return self.look()

    def test_each_change_of_status_is_logged_once(self) -> None:
        """A change is logged once, at the level that it has, and the good end of it too."""
        self.assertEqual(self.look(5), [])
        good = "info status is good: Both servers are healthy; prom-a:9090 serves."
        self.assertEqual(self.become(), [good])
        self.assertEqual(self.look(100), [])
        refused = "the configuration on disk is rejected (--port, see the log); a restart would fail."
        self.assertEqual(
            self.become(config=ConfigProblem("--port")),
            [f"warn status is warn: Both servers are healthy; prom-a:9090 serves. But {refused}"],
        )
        self.assertEqual(
            self.become(DOWN), ["error status is bad: Both servers are down. Requests are answered 503 until one is back."]
        )
        self.assertEqual(self.become(), [good])

    def test_clients_get_errors(self) -> None:
        """240 clients that are answered 503 are not passed over: at the first one, each minute, and at the end."""
        self.become(DOWN)
        self.counts[503] = 3
        self.assertEqual(
            self.look(), ["error status is bad: Both servers are down. Clients get 503 since 22:13:22 UTC, 3 so far."]
        )
        self.counts[503] = 100
        self.assertEqual(self.look(int(REMIND_S) - 2), [])
        self.counts[503] = 240
        self.assertEqual(
            self.look(2), ["error status is bad: Both servers are down. Clients get 503 since 22:13:22 UTC, 240 so far."]
        )
        self.assertEqual(self.look(600), [])
        self.become()
        self.look(int(OVER_S))
        self.assertEqual(
            self.lines[-2:],
            [
                "warn Clients got 503 from 22:13:22 to 22:14:21 UTC, 240 in all.",
                "info status is good: Both servers are healthy; prom-a:9090 serves.",
            ],
        )

    def test_a_server_that_goes_and_comes_again(self) -> None:
        """Each change is written at once, also if the same one was written a moment ago, and none of them later."""
        observer = LineObserver("logfmt", "info")
        written: list[str] = []
        observer.write = lambda line: written.append(line.decode().split('"')[1].partition(":")[0])
        later = RepeatFilter(lambda record: written.append("late"), self.clock.seconds, self.clock.callLater)  # type: ignore[arg-type]
        observer.is_due = later.is_due
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.become()
        for _ in range(2):
            self.become(DOWN)
            self.look(5)
            self.become()
            self.look(13)
        good, bad = "status is good", "status is bad"
        self.assertEqual(written, [good, bad, good, bad, good])
        self.look(200)
        self.assertEqual(len(written), 5)

    def test_a_server_that_changes_each_second(self) -> None:
        """After some changes one line is written every ten seconds, with the status of that moment and the number of changes."""
        for turn in range(101):
            self.become(DOWN if turn % 2 else WELL)
        seconds = 100
        self.assertLessEqual(len(self.lines), BURST + seconds / PACE_S)
        self.assertGreater(len(self.lines), seconds / PACE_S)
        self.assertRegex(self.lines[-1], r"\(after \d+ other changes\)$")
        self.look(int(PACE_S))
        self.assertRegex(self.lines[-1], r"^info status is good: .* \(after \d+ other changes\)$")
        self.assertEqual(self.look(100), [])
        self.assertNotIn("after", self.become(DOWN)[0])

    def test_end_of_the_program(self) -> None:
        """What was counted is told when mpp stops in the middle of it."""
        self.become(DOWN)
        self.counts[504] = 7
        self.look()
        self.log.stopService()
        self.assertEqual(self.lines[-1], "warn Clients got 504 from 22:13:22 to 22:13:22 UTC, 7 in all.")

    def test_a_worker_leaves_the_status_log_to_its_parent(self) -> None:
        """The status is logged once, by the process that knows all workers."""
        remote = RemoteSelections(self.clock.seconds)
        link = ParentLink(remote.bound_to, remote.addresses, lambda *how: Deferred(), Deferred, None)
        for role, logs in ((Role[Program](), True), (Role[Program](parent=link), False)):
            program = Program(Settings(discovery=DiscoverySettings(EndpointSettings(("a:1",)))), MemoryReactorClock(), role)
            self.assertEqual(program.status_log in list(program), logs)
