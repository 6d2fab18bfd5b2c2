"""
Compares the histories of some servers for one day or less: asks them by `mpp.coverage.history.paced_queries`, and
reports to `mpp.coverage.knowledge` what they lack. See Note [Looking back] in `mpp.coverage.holes`.

The time between the edges of a long gap is not compared with all targets: it is presumed to be as bad as at the edges, if the
witnesses lack samples all along.

Windows in which the witnesses of all jobs have fewer samples than usual on all servers are compared with all targets, too: in a
rolling restart all servers may have lost as much in the same window, so that none of them is worse than the others.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from mpp.core.coverage import NOTHING, UNKNOWN_JOB, Hole, Job, Missing
from mpp.core.intervals import ALWAYS, NEVER, Intervals
from mpp.core.model import Backend
from mpp.coverage.absences import added_up, unseen, weighed
from mpp.coverage.common_gaps import candidates
from mpp.coverage.history.agenda import Span
from mpp.coverage.history.common_gap_search import CommonGapSearch
from mpp.coverage.history.look_back import (
    DAY_S,
    PACES,
    SAMPLE_S,
    TARGET_S,
    Refinement,
    Witness,
    ended,
    is_whole_interval,
    is_whole_pool,
    jobs_of_day,
    jobs_of_pace,
    read_witnesses,
    refinements,
    sums_path,
    witnesses_path,
)
from mpp.coverage.history.paced_queries import PacedQueries
from mpp.coverage.holes import COARSE_S, SUSPICIOUS, Sums, Windows, judged, suspicious
from mpp.coverage.knowledge import Knowledge

MOST_JUDGED = 100
"""Maximum number of jobs that are judged one by one; of more jobs, only losses of all of them together are found."""
MOST_LOST_BY_ALL = 12
"""Maximum number of times in which all servers have lost samples that are compared with all targets, the newest ones."""
ALL_JOBS = ""

Bad = Mapping[Backend, Mapping[str, Intervals]]
"""The times in which servers lack something, by server and job."""


@frozen
class Comparison:
    """
    The comparison of some servers for one span of time.

    :ivar selector: the metric that says whether a target was scraped, such as ``up``.
    :ivar until: windows that end after this time are not queried.
    :ivar all_servers: whether no further server may have data of this time.
    """

    queries: PacedQueries
    knowledge: Knowledge
    selector: str
    backends: Sequence[Backend]
    span: Span
    until: float
    all_servers: bool = True

    async def run(self) -> None:
        """
        Query the servers, and record in ``knowledge`` what they lack.

        :raise Interrupted: a server cannot be queried at the moment; the findings until then are recorded already.
        """
        paces = [(pace, jobs) for pace in PACES if (jobs := jobs_of_pace(self.knowledge.jobs, pace))]
        for place, (pace, jobs) in enumerate(paces):
            # The absences of all data are found by the quickest jobs; the scrapes of slow jobs are too rare to know better.
            known = {backend: self.knowledge.known(backend).whole if place else NEVER for backend in self.backends}
            await self._compare(jobs, pace, known)

    async def _compare(self, jobs: Mapping[str, Job], pace: int, known: Mapping[Backend, Intervals]) -> None:
        """
        Compare the jobs whose witnesses are compared in windows of one length.

        :param known: the times in which each server is known to lack all jobs, and which are not compared.
        """
        witnesses = await self._witnesses({name: jobs[name] for name in jobs_of_day(jobs, int(self.span.end // DAY_S))}, pace)
        end = math.floor(self.span.end)
        count = math.ceil((end - self.span.start) / pace)
        windows = Windows(end - count * pace, pace, count)
        if not witnesses:
            await self._find_common_gaps({}, windows, jobs)
            return
        samples_per_s = sum(2 / jobs[each.job].window for each in witnesses if each.job in jobs)
        path = functools.partial(sums_path, self.selector, witnesses=witnesses)
        asked = {each.job for each in witnesses}
        coarse: dict[Backend, Sums] = {
            backend: await self.queries.sums(backend, path, windows, series=len(asked), samples_per_s=samples_per_s)
            for backend in self.backends
        }
        bad = _spread(await self.queries.in_slices(suspicious(coarse, windows, jobs)), asked, jobs)
        lost_by_all = Intervals.of(list(candidates(coarse, windows, jobs))[-MOST_LOST_BY_ALL:])
        self._correct(bad, lost_by_all, asked, windows, jobs, known)
        found: dict[Backend, dict[str, Missing]] = {backend: {} for backend in self.backends}
        fine: dict[str, Intervals] = {}
        await self._refine_all(refinements(self._edges(bad, jobs, known), jobs, pace), found, fine, known)
        self._fill(bad, found, fine, known)
        common = await self._find_common_gaps(coarse, windows, jobs)
        # Around a common gap all servers have lost samples because of it.
        lost_by_all -= common.widen(2 * pace, 2 * pace)
        left = {name: [lost_by_all - fine.get(name, NEVER)] for name in jobs}
        await self._refine_all(refinements(left, jobs, pace), found, fine, known)

    async def _find_common_gaps(self, coarse: Mapping[Backend, Sums], windows: Windows, jobs: Mapping[str, Job]) -> Intervals:
        """Look for common gaps of all servers, and return them; the scrapes of slow jobs are too rare to show them."""
        if windows.length != COARSE_S:
            return NEVER
        search = CommonGapSearch(self.queries, self.knowledge, self.selector, self.backends, self.until, self.all_servers)
        return await search.run(coarse, windows, jobs)

    async def _witnesses(self, asked: Mapping[str, Job], pace: int) -> tuple[Witness, ...]:
        """Return the targets that stand for their jobs: found in the middle of the span, or else at its end or beginning."""
        length = self.span.end - self.span.start
        for part in (0.5, 0.95, 0.05):
            path = witnesses_path(self.selector, tuple(asked), self.span.start + part * length, pace)
            # It reads one sample of each target of these jobs, or all in the window of a slow job.
            jobs = asked.values()
            samples = sum(2 * pace / job.window * job.targets for job in jobs) if pace > COARSE_S else 0.0
            cost = TARGET_S * sum(job.targets for job in jobs) + SAMPLE_S * samples
            outcomes = [await self.queries.ask(backend, path, cost) for backend in self.backends]
            found = read_witnesses(outcomes)
            if found:
                return found
        return ()

    def _correct(
        self,
        bad: Bad,
        lost_by_all: Intervals,
        asked: set[str],
        windows: Windows,
        jobs: Mapping[str, Job],
        known: Mapping[Backend, Intervals],
    ) -> None:
        """Delete the known absences of all data from the times in which the witnesses have samples, apart from short ones."""
        # Shorter ones do not show in windows of this length.
        least = 2 * (1 - SUSPICIOUS) * windows.length
        for backend in self.backends:
            away = self.knowledge.known(backend).whole.within(windows.start, windows.end) - known[backend]
            away = Intervals.of((start, end) for start, end in away if end - start >= least)
            for job in asked if away else ():
                short = self.knowledge.absences(backend).short(jobs[job].window if job in jobs else 0.0)
                lost = bad.get(backend, {}).get(job, NEVER) | lost_by_all
                self.knowledge.found(backend, away - short - lost.widen(COARSE_S, COARSE_S), [job], NOTHING)

    def _edges(self, bad: Bad, jobs: Mapping[str, Job], known: Mapping[Backend, Intervals]) -> dict[str, list[Intervals]]:
        """Return the times whose exact edges must be found, by job: the bad times, the known gaps and short absences."""
        times: dict[str, list[Intervals]] = {}
        for backend in self.backends:
            own = self.knowledge.known(backend).only(Intervals.of([(self.span.start, self.span.end)]))
            absences = self.knowledge.absences(backend)
            for name, job in jobs.items():
                # One that ended shortly before needs windows of this span as well.
                away = absences.short(job.window, self.span.start - 3 * job.window, self.span.end) - known[backend]
                holes = own.whole | Intervals.of((hole.start, hole.end) for hole in own.jobs.get(name, ()))
                parts = bad.get(backend, {}).get(name, NEVER), holes - known[backend], away
                each = [part for part in parts if part]
                if each:
                    times.setdefault(name, []).extend(each)
        return times

    async def _refine_all(
        self,
        asked: Sequence[Refinement],
        found: dict[Backend, dict[str, Missing]],
        fine: dict[str, Intervals],
        known: Mapping[Backend, Intervals],
    ) -> None:
        for each in asked:
            windows_until = ended(each.windows, self.until)
            if windows_until.count:
                await self._refine(evolve(each, windows=windows_until), found, fine, known)

    async def _refine(
        self,
        asked: Refinement,
        found: dict[Backend, dict[str, Missing]],
        fine: dict[str, Intervals],
        known: Mapping[Backend, Intervals],
    ) -> None:
        """Query all targets of some jobs around an edge, unless that would cost too much."""
        jobs, windows = self.knowledge.jobs, asked.windows
        samples_per_s = sum(2 * jobs[name].targets / jobs[name].window for name in asked.jobs if name in jobs)
        if not self.queries.can_afford(self.backends, windows, samples_per_s):
            return
        path = functools.partial(sums_path, self.selector, jobs=asked.jobs)
        answers: dict[Backend, Sums] = {
            backend: await self.queries.sums(backend, path, windows, series=len(asked.jobs), samples_per_s=samples_per_s)
            for backend in self.backends
        }
        times = Intervals.of([(windows.start, windows.end)])
        all_jobs = is_whole_pool(asked.jobs, jobs)
        together = all_jobs or (len(asked.jobs) > 1 and is_whole_interval(asked, jobs))
        if len(asked.jobs) > MOST_JUDGED:
            # So many are only asked for together if the server lacked all of them.
            answers, jobs = {backend: {ALL_JOBS: added_up(each)} for backend, each in answers.items()}, {}
        missing = await self.queries.in_slices(judged(answers, windows, jobs, all_jobs=all_jobs))
        for name in asked.jobs:
            fine[name] = fine.get(name, NEVER) | times
        for backend in self.backends:
            own = missing.get(backend, NOTHING)
            own = Missing(own.whole) if len(asked.jobs) > MOST_JUDGED else own
            absences = weighed(self.knowledge.absences(backend), backend, answers, windows)
            lost = absences.lost | (unseen(backend, answers, windows) - absences.explained if together else NEVER)
            own = own.only(ALWAYS - absences.explained) | self._whole(lost, asked.jobs, all_jobs=all_jobs)
            self.knowledge.found(backend, times - known[backend] - absences.undecided, asked.jobs, own)
            for name in asked.jobs:
                found[backend][name] = found[backend].get(name, NOTHING) | own

    def _whole(self, times: Intervals, jobs: Sequence[str], *, all_jobs: bool) -> Missing:
        """Return the lack of all targets of some jobs, or of the whole server."""
        if all_jobs or not times:
            return Missing(times)
        targets = {name: self.knowledge.jobs.get(name, UNKNOWN_JOB).targets for name in jobs}
        return Missing.of(NEVER, {name: [Hole(*each, most, most) for each in times] for name, most in targets.items()})

    def _fill(
        self,
        bad: Bad,
        found: Mapping[Backend, Mapping[str, Missing]],
        fine: Mapping[str, Intervals],
        known: Mapping[Backend, Intervals],
    ) -> None:
        """Report what is missing between the edges of gaps, which were compared with all targets."""
        for backend, by_job in bad.items():
            for name, times in by_job.items():
                window = self.knowledge.jobs.get(name, UNKNOWN_JOB).window
                for start, end in times - fine.get(name, NEVER) - known[backend]:
                    own = found[backend].get(name, NOTHING)
                    between = _between(own, name, start, end, window)
                    if between:
                        self.knowledge.found(backend, Intervals.of([(start, end)]), [name], between)


def _spread(bad: Mapping[Backend, Mapping[str, Intervals]], asked: set[str], jobs: Mapping[str, Job]) -> Bad:
    """Return the bad times; if all jobs with witnesses are bad at a time, so are the jobs without witnesses."""
    found: dict[Backend, dict[str, Intervals]] = {}
    for backend, by_job in bad.items():
        found[backend] = dict(by_job)
        if by_job.keys() >= asked:
            common = functools.reduce(lambda one, other: one & other, by_job.values())
            found[backend].update({name: common for name in jobs if name not in asked and common})
    return found


def _between(edges: Missing, job: str, start: float, end: float, window: float) -> Missing:
    """Return the gap between two edges, in which as much is missing as next to the edges."""
    reach_start, reach_end = start - window, end + window
    if edges.whole.overlaps(reach_start, start) or edges.whole.overlaps(end, reach_end):
        return Missing(Intervals.of([(start, end)]))
    near = [hole for hole in edges.jobs.get(job, ()) if hole.end >= reach_start and hole.start <= reach_end]
    if not near:
        return NOTHING
    most = max(near, key=lambda hole: hole.missing)
    return Missing.of(NEVER, {job: [Hole(start, end, most.missing, most.of)]})
