"""What the status page shows of the servers' histories: strips, holes in words, drift, and the progress of the look back."""

from __future__ import annotations

import math
import re
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.admin.status import html_page, report
from mpp.admin.status.history_section import MOST_JOBS, MOST_SHOWN, histories, section, summary
from mpp.admin.status.holes import HistoryHole, found, words
from mpp.admin.status.strip import COLUMNS, Strip, drawn
from mpp.core.coverage import Coverage, Hole, Job, Missing
from mpp.core.facts import Gap
from mpp.core.intervals import NEVER, Intervals
from mpp.core.model import Standing
from mpp.coverage.history.service import Progress
from tests.status_support import FOREIGN, NOW, A, B, view, well

DAY = 86400.0
TODAY = NOW - NOW % DAY
JOBS = {"node": Job(80, 30.0), "web": Job(4, 30.0)}
FINISHED = {A: Progress(NOW - 15 * DAY, finished=True), B: Progress(NOW - 15 * DAY, finished=True)}


class WordsTests(SynchronousTestCase):
    """The holes of a server's history in words."""

    def words(self, missing: Missing, since: float = NOW - 15 * DAY) -> list[str]:
        """Return the words for all holes, oldest first."""
        return [words(hole, NOW) for hole in found(missing, JOBS, missing.gaps(JOBS), since, NOW)]

    def test_one_job(self) -> None:
        """The text of a hole of one job has the times, the targets and the job."""
        missing = Missing.of(NEVER, {"node": [Hole(TODAY + 36370, TODAY + 36460, 20, 80)]})
        self.assertEqual(self.words(missing), ["lacks 10:06:10 to 10:07:40, 20 of 80 targets of the job node"])

    def test_shorter_than_a_second(self) -> None:
        """A hole of less than a second is not shown, unless it goes on."""
        start = TODAY + 77644.2
        for end, shown in ((start, 0), (start + 0.7, 0), (start + 1, 1), (math.inf, 1)):
            missing = Missing.of(Intervals.of([(start, end)]) if end > start else NEVER, {})
            self.assertEqual(len(self.words(missing)), shown)
        (hole,) = found(Missing.of(Intervals.of([(NOW - 0.1, math.inf)]), {}), JOBS, (Gap(NOW - 0.1, math.inf, 1.0),), 0.0, NOW)
        self.assertEqual(hole.end, math.inf)
        short = Missing.of(NEVER, {"node": [Hole(start, start + 0.4, 20, 80), Hole(start + 0.6, start + 2, 20, 80)]})
        self.assertEqual(self.words(short), ["lacks 21:34:04 to 21:34:06, 20 of 80 targets of the job node"])

    def test_all_targets(self) -> None:
        """Another day is named; a hole of all targets needs no jobs."""
        missing = Missing.of(Intervals.of([(TODAY - DAY + 60, TODAY - DAY + 120), (TODAY - DAY - 60, TODAY - DAY + 5)]), {})
        self.assertEqual(
            self.words(missing),
            [
                "lacks 2023-11-12 23:59:00 to 2023-11-13 00:00:05, all 84 targets",
                "lacks 2023-11-13 00:01:00 to 00:02:00, all 84 targets",
            ],
        )

    def test_jobs_of_one_hole(self) -> None:
        """Holes of several jobs that overlap are one hole, with the most targets that are missing at one time."""
        holes = {"node": [Hole(TODAY, TODAY + 60, 20, 80)], "web": [Hole(TODAY + 30, TODAY + 90, 4, 4)]}
        self.assertEqual(
            self.words(Missing.of(NEVER, holes)), ["lacks 00:00:00 to 00:01:30, 24 of 84 targets of the jobs node and web"]
        )

    def test_goes_on(self) -> None:
        """A hole that goes on has no end."""
        missing = Missing.of(NEVER, {"web": [Hole(TODAY + 60, math.inf, 1, 4)]})
        self.assertEqual(self.words(missing), ["lacks 00:01:00 until now, 1 of 4 targets of the job web"])

    def test_few_targets_now(self) -> None:
        """A hole keeps its own numbers of targets while the servers have few targets, such as after their start."""
        missing = Missing.of(NEVER, {"node": [Hole(TODAY, TODAY + 60, 5, 10)]})
        jobs = {"node": Job(2, 30.0)}
        (hole,) = found(missing, jobs, missing.gaps(jobs), NOW - DAY, NOW)
        self.assertEqual(words(hole, NOW), "lacks 00:00:00 to 00:01:00, 5 of 10 targets of the job node")

    def test_only_target(self) -> None:
        """A job of one target has no number."""
        missing = Missing.of(NEVER, {"app": [Hole(TODAY, TODAY + 60, 1, 1)]})
        self.assertEqual(self.words(missing), ["lacks 00:00:00 to 00:01:00, the only target of the job app"])

    def test_edges_of_a_restart(self) -> None:
        """Where all jobs are missing, the jobs that are missing somewhat longer are not named."""
        missing = Missing.of(Intervals.of([(TODAY + 30, TODAY + 60)]), {"web": [Hole(TODAY, TODAY + 30, 1, 4)]})
        self.assertEqual(self.words(missing), ["lacks 00:00:00 to 00:01:00, all 84 targets"])

    def test_gaps_that_follow_each_other(self) -> None:
        """Gaps with less than a second between them, by an absence and by the survey after it, are one."""
        missing = Missing.of(Intervals.of([(TODAY + 30, TODAY + 50.5)]), {"node": [Hole(TODAY + 50.6, TODAY + 60, 10, 80)]})
        self.assertEqual(self.words(missing), ["lacks 00:00:30 to 00:01:00, all 84 targets"])

    def test_unknown_jobs(self) -> None:
        """Before the jobs are known no number of targets is invented."""
        missing = Missing.of(Intervals.of([(TODAY, TODAY + 60)]), {})
        (hole,) = found(missing, {}, missing.gaps({}), NOW - DAY, NOW)
        self.assertEqual(words(hole, NOW), "lacks 00:00:00 to 00:01:00, all targets")

    def test_before_its_oldest_data(self) -> None:
        """What is older than a server's oldest data is no hole: its history is only shorter."""
        missing = Missing.of(Intervals.of([(-math.inf, NOW - DAY), (NOW + 5, math.inf)]), {})
        self.assertEqual(self.words(missing, NOW - DAY), [])


class StripTests(SynchronousTestCase):
    """The picture of a server's history."""

    def rects(self, strip: Strip) -> list[tuple[str, float, float, float]]:
        """Return class, x, width and height of each rectangle."""
        pattern = r'<rect class="(\w+)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="([\d.]+)"'
        return [(kind, float(x), float(w), float(h)) for kind, x, w, h in re.findall(pattern, drawn(strip, "Last day"))]

    def strip(self, *gaps: Gap, **changed: Any) -> Strip:
        """Return a strip of 1,000 s per column."""
        start = NOW - 1000 * COLUMNS
        return Strip(**{"start": start, "end": NOW, "oldest": start, "compared": start, "known": NOW, "gaps": gaps} | changed)

    def test_history_without_holes_is_one_bar(self) -> None:
        """A history without holes is one bar."""
        self.assertEqual(self.rects(self.strip()), [("has", 0, 2 * COLUMNS, 16)])

    def test_short_hole_is_seen(self) -> None:
        """A hole of a second is as wide as a column, and reaches below the bar."""
        (_, lack, tick) = self.rects(self.strip(Gap(NOW - 1500, NOW - 1499, 1.0)))
        self.assertEqual(lack, ("lack", 2 * COLUMNS - 4, 2, 16))
        self.assertEqual(tick[:3], ("tick", 2 * COLUMNS - 4, 2))

    def test_height_is_the_missing_share(self) -> None:
        """A quarter of the targets is a quarter of the height; few targets are still seen."""
        rects = self.rects(self.strip(Gap(NOW - 4000, NOW - 2000, 0.25), Gap(NOW - 2000, NOW - 1000, 0.0001)))
        self.assertEqual([each for each in rects if each[0] == "lack"], [("lack", 472, 4, 4), ("lack", 476, 2, 2)])

    def test_not_compared(self) -> None:
        """The part that was not compared yet is drawn apart, and the time before the oldest data is empty."""
        strip = self.strip(oldest=NOW - 200_000, compared=NOW - 100_000)
        self.assertEqual(self.rects(strip), [("unseen", 80, 200, 16), ("has", 280, 200, 16)])
        self.assertIn("not compared with the other servers", drawn(strip, "Last day"))

    def test_compared_again(self) -> None:
        """The time that is compared again is drawn apart, and what lies before and after it is not."""
        strip = self.strip(again=Intervals.of([(NOW - 150_000, NOW - 100_000)]))
        self.assertEqual(self.rects(strip), [("has", 0, 180, 16), ("unseen", 180, 100, 16), ("has", 280, 200, 16)])
        self.assertIn("is compared again with the other servers", drawn(strip, "Last day"))

    def test_unknown_time_is_drawn_apart(self) -> None:
        """The time in which the server was out of service is drawn apart."""
        self.assertEqual(self.rects(self.strip(known=NOW - 100_000)), [("has", 0, 280, 16), ("unseen", 280, 200, 16)])
        self.assertIn("not known, because the server is out of service", drawn(self.strip(known=NOW - 100_000), "Last day"))
        nothing = self.strip(known=0.0, compared=NOW)
        self.assertEqual(self.rects(nothing), [("unseen", 0, 480, 16)])

    def test_many_holes(self) -> None:
        """The picture is bounded, however many holes there are."""
        gaps = [Gap(NOW - 100 * n, NOW - 100 * n + 50, n % 7 / 7) for n in range(2000, 0, -1)]
        self.assertLessEqual(len(self.rects(self.strip(*gaps))), 1 + 2 * COLUMNS)


class SectionTests(SynchronousTestCase):
    """The history of a server on its card."""

    def section(self, missing: Missing, **more: Any) -> str:
        """Return what the page shows of the second server's history."""
        shown = view(well(A), well(B), **{"coverage": Coverage(JOBS, {B: missing}), "looked_back": FINISHED} | more)
        return section(histories(shown).get(B))

    def test_without_comparison(self) -> None:
        """Without a look back (--no-coverage), and without a second server, nothing is claimed."""
        self.assertEqual(self.section(Missing(), looked_back={}, coverage=Coverage()), "")
        alone = view(well(A), looked_back={A: Progress()})
        self.assertEqual(section(histories(alone).get(A)), "")

    def test_times_without_data_of_any_server(self) -> None:
        """The times that no server has are named below the verdict, beside what single servers lack; no card has them."""
        common = Intervals.of([(TODAY + 36370, TODAY + 36460)])
        told = "No server has data from 2023-11-14 10:06:10 to 10:07:40 UTC; a query that needs this data gets a warning."
        gap = Missing.of(Intervals.of([(TODAY, TODAY + 60)]), {})
        for missing, before in (
            ({}, "No server is known to lack data that another one has. "),
            ({B: gap}, "prom-b:9090/x has gaps in its history"),
        ):
            shown = view(well(A), well(B), coverage=Coverage(JOBS, missing, common), looked_back=FINISHED)
            sentence = summary(histories(shown).values(), common)
            self.assertTrue(sentence.startswith(before), sentence)
            self.assertTrue(sentence.endswith(told), sentence)
            self.assertIn(told, html_page.render(shown).decode())
            self.assertIn("no gap known" if not missing else "one gap, 1m in all", section(histories(shown)[B]))

    def test_two_strips(self) -> None:
        """One strip shows the last day and one all of the history, each with a text for those who do not see it."""
        html = self.section(Missing.of(Intervals.of([(NOW - 3 * DAY, NOW - 3 * DAY + 1800)]), {}))
        self.assertIn('role="img" aria-label="Last day: no gap known"', html)
        self.assertIn('role="img" aria-label="Last 15d: one gap, 30m in all"', html)
        self.assertIn("all 84 targets", html)
        self.assertIn("compared with the other servers", html)

    def test_nothing_is_claimed_of_a_server_out_of_service(self) -> None:
        """Nothing is claimed of the time since a server is out of service, by ejection or since mpp reached it last."""
        since = NOW - 7200
        for changes in (
            {"standing": Standing.DOWN, "ejected_at": since},
            {"standing": Standing.NOT_READY, "facts_read_at": since},
        ):
            shown = view(well(A), well(B, **changes), coverage=Coverage(JOBS, {B: Missing()}), looked_back=FINISHED)
            html = section(histories(shown)[B])
            self.assertIn('aria-label="Last day: no gap known, the last 2h not known"', html)
            self.assertIn("compared with the other servers until 2023-11-14 20:13:20 UTC; later data is not known", html)
            self.assertNotIn("all of it", html)
            partly = evolve(shown, looked_back={B: Progress(NOW - 3 * DAY)})
            told = "compared with the other servers from 2023-11-11 22:13:20 UTC to 2023-11-14 20:13:20 UTC; later"
            self.assertIn(told, section(histories(partly)[B]))
        html = section(
            histories(view(well(A), well(B, standing=Standing.DOWN, facts_read_at=0.0), looked_back={B: Progress()}))[B]
        )
        self.assertIn("not known, because the server is out of service", html)
        self.assertNotIn('class="has"', html)

    def test_less_than_a_day_has_one_strip(self) -> None:
        """Servers with less than a day of data have one strip."""
        shown = view(*(well(each, facts_oldest=NOW - 7200) for each in (A, B)), looked_back=FINISHED)
        self.assertEqual(section(histories(shown)[B]).count("<svg"), 1)

    def test_shorter_history(self) -> None:
        """The strips of all servers have the same scale; the shorter history begins later, and is no hole."""
        shown = view(well(A), well(B, facts_oldest=NOW - 3 * DAY), looked_back=FINISHED)
        html = section(histories(shown)[B])
        self.assertIn('<rect class="has" x="384.0"', html)
        self.assertNotIn("lacks", html)

    def test_many_holes(self) -> None:
        """The newest holes are shown, the others can be unfolded."""
        holes = [Hole(NOW - 90000 + 100 * n, NOW - 90000 + 100 * n + 10, 8, 80) for n in range(500)]
        html = self.section(Missing.of(NEVER, {"node": holes}))
        self.assertLess(html.index("<details"), html.index("more gaps"))
        self.assertEqual(html.partition("<details")[0].count("<li>"), MOST_SHOWN)
        self.assertLess(len(html), 60_000)

    def test_shows_how_far_the_comparison_has_come(self) -> None:
        """How far the histories were compared, with the reason why it does not go on."""
        for progress, told in (
            (Progress(), "not compared with the other servers yet"),
            (Progress(NOW + 1), "not compared with the other servers yet"),
            (Progress(NOW - 3 * DAY), "the last 3d (20%) are compared with the other servers"),
            (
                Progress(NOW - 3 * DAY, problem=FOREIGN),
                "compared with the other servers; paused: &lt;script",
            ),
        ):
            self.assertIn(told, self.section(Missing(), looked_back={B: progress}), told)

    def test_time_that_is_compared_again(self) -> None:
        """After a restart the page says which time is compared again; all else is as it was known before."""
        again = Intervals.of([(TODAY + 36370, TODAY + 36460), (NOW - 60, NOW)])
        for progress, told in (
            (Progress(NOW - 15 * DAY, finished=True), "all of it is compared with the other servers"),
            (Progress(NOW - 3 * DAY), "the last 3d (20%) are compared with the other servers"),
        ):
            looked_back = {A: progress, B: evolve(progress, again=again)}
            html = self.section(Missing(), looked_back=looked_back)
            self.assertIn(f"{told}; the time since 10:06:10 is compared again, because the server was away or lacked data", html)
            self.assertEqual(html.count('<rect class="has"'), 4)
            shown = view(well(A), well(B), coverage=Coverage(JOBS, {B: Missing()}), looked_back=looked_back)
            self.assertEqual(summary(histories(shown).values()), "The histories of the servers are being compared.")

    def test_past_time_that_is_compared_again(self) -> None:
        """A time that is over is named with its beginning and its end."""
        again = Intervals.of([(TODAY + 36370, TODAY + 36460)])
        html = self.section(Missing(), looked_back={B: Progress(NOW - 15 * DAY, finished=True, again=again)})
        self.assertIn("; the time from 10:06:10 to 10:07:40 is compared again", html)

    def test_drift_is_not_shown_as_a_hole(self) -> None:
        """Targets that a server never had are shown as a difference of the servers, not as a hole; of many jobs a few."""
        html = self.section(Missing.of(NEVER, {}, {f"{FOREIGN}{n}": 3 for n in range(9)}))
        self.assertNotIn("lacks", html)
        self.assertIn("drift", html)
        self.assertEqual(html.count("3 targets of"), MOST_JOBS)
        self.assertNotIn("<script", html)


class PageTests(SynchronousTestCase):
    """Holes of the past on the whole page."""

    def shown(self, missing: Missing) -> Any:
        """Return what is shown of a healthy pair, of which the second server lacks something."""
        return view(well(A), well(B), coverage=Coverage(JOBS, {B: missing}), looked_back=FINISHED)

    def test_old_holes_are_no_alarm(self) -> None:
        """Old holes are told below the verdict, which stays good; no card turns red for them."""
        shown = self.shown(Missing.of(Intervals.of([(NOW - 7200, NOW - 3600)]), {}))
        made = report.make(shown)
        self.assertEqual((made.level, [each.level for each in made.backends]), ("good", ["good", "good"]))
        self.assertIn("prom-b:9090/x has gaps in its history", summary(histories(shown).values()))
        html = html_page.render(shown).decode()
        self.assertIn("has gaps in its history; a query for such a time goes to the server that lacks least of it.", html)
        self.assertEqual(html.count('<svg class="strip"'), 4)

    def test_no_hole(self) -> None:
        """Without holes it is said that there are none, once all is compared."""
        self.assertEqual(summary(histories(self.shown(Missing())).values()), "The histories of the servers have no known gaps.")
        self.assertEqual(summary(histories(view(well(A), well(B))).values()), "")

    def test_always_missing(self) -> None:
        """What a server never had is listed in the section on drift."""
        html = html_page.render(self.shown(Missing.of(NEVER, {}, {"web": 2}))).decode()
        drift = html.partition('<section id="drift">')[2].partition("</section>")[0]
        self.assertIn("never had", drift)
        self.assertIn(">prom-b:9090/x</a>: 2 targets of the job web", drift)
        self.assertNotIn("report no difference", drift)


class HoleTests(SynchronousTestCase):
    """The value of a hole."""

    def test_hole_that_goes_on_lasts_until_now(self) -> None:
        """A hole that goes on is as long as it has been until now."""
        self.assertEqual(HistoryHole(NOW - 60, math.inf, 1, 2, ("a",)).length(NOW), 60)
