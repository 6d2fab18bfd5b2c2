"""What the JSON of the status page says of the servers' histories."""

from __future__ import annotations

import json
import math
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mpp.admin.status.history import MOST_HOLES
from mpp.admin.status.json_document import render
from mpp.core.coverage import Coverage, Hole, Job, Missing
from mpp.core.intervals import NEVER, Intervals
from mpp.coverage.history.service import Progress
from tests.status_support import NOW, A, B, view, well

JOBS = {"node": Job(80, 30.0), "web": Job(4, 30.0)}


class HistoryTests(SynchronousTestCase):
    """Two servers, of which one lacks something."""

    def shown(self, missing: Missing, **more: Any) -> Any:
        """Return what is said of the second server."""
        shown = view(well(A), well(B), coverage=Coverage(JOBS, {B: missing}), **more)
        first, second = json.loads(render(shown))["backends"]
        self.assertEqual((first["missing"], first["missing_target_seconds"]), ([], 0))
        return second

    def test_holes_are_listed_oldest_first(self) -> None:
        """Holes of all jobs and of one, oldest first; one that goes on has no end, and counts until now."""
        missing = Missing.of(Intervals.of([(NOW - 900, NOW - 800)]), {"node": [Hole(NOW - 100, math.inf, 20, 80)]}, {"web": 1})
        shown = self.shown(missing)
        self.assertEqual(
            shown["missing"],
            [
                {"start": NOW - 900, "end": NOW - 800, "targets": 84, "of": 84, "job": None},
                {"start": NOW - 100, "end": None, "targets": 20, "of": 80, "job": "node"},
            ],
        )
        self.assertEqual(shown["missing_target_seconds"], 84 * 100 + 20 * 100)
        self.assertEqual(shown["missing_always"], [{"job": "web", "targets": 1}])

    def test_the_largest_of_many_holes_are_listed(self) -> None:
        """The largest of many holes are listed."""
        holes = [Hole(NOW - 90000 + 100 * n, NOW - 90000 + 100 * n + 1 + n, 1, 80) for n in range(50)]
        shown = self.shown(Missing.of(NEVER, {"node": holes}))["missing"]
        self.assertEqual([each["start"] for each in shown], [hole.start for hole in holes[-MOST_HOLES:]])

    def test_times_without_data_of_any_server(self) -> None:
        """The times in which no server has data are listed once, the newest ones, the oldest first."""
        common = Intervals.of((NOW - 1000 * n, NOW - 1000 * n + 90) for n in range(1, 40))
        shown = json.loads(render(view(well(A), well(B), coverage=Coverage(JOBS, {}, common))))
        expected = [{"start": NOW - 1000 * n, "end": NOW - 1000 * n + 90} for n in range(MOST_HOLES, 0, -1)]
        self.assertEqual(shown["missing_on_all"], expected)
        self.assertEqual([each["missing"] for each in shown["backends"]], [[], []])

    def test_shows_how_far_the_comparison_has_come(self) -> None:
        """How far the history has been compared, and why it does not go on."""
        progress = {B: Progress(NOW - 86400, finished=False, problem="it does not answer")}
        shown = self.shown(Missing(), looked_back=progress)
        expected = {"until": NOW - 86400, "finished": False, "again": [], "problem": "it does not answer"}
        self.assertEqual(shown["looked_back"], expected)

    def test_compared_again(self) -> None:
        """The times that are compared again are listed; all older times stay compared."""
        progress = {B: Progress(NOW - 86400, finished=True, again=Intervals.of([(NOW - 7200, NOW)]))}
        shown = self.shown(Missing(), looked_back=progress)["looked_back"]
        self.assertEqual((shown["finished"], shown["again"]), (True, [{"start": NOW - 7200, "end": NOW}]))
