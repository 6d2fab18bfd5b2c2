"""
Looks for the times in which no server has any data, while the histories are compared. See Note [Common gaps] in
`mpp.coverage.common_gaps`, which judges what is found.

Where the witnesses of all jobs have fewer samples than usual on all servers, the servers are asked for all their targets: in
windows of one scrape interval around the edges of that time, and in longer ones between them, where nothing is expected.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from mpp.core.coverage import Job
from mpp.core.intervals import Intervals
from mpp.core.model import Backend
from mpp.coverage.common_gaps import (
    ALIKE,
    LEAST_INTERVALS,
    Answers,
    EmptyTime,
    Pieces,
    Scale,
    candidates,
    common_gaps,
    empty_times,
    last_to_stop,
    marked_at,
)
from mpp.coverage.history.look_back import SAMPLE_S, ended, present_path, read_present, sums_path
from mpp.coverage.history.paced_queries import PacedQueries
from mpp.coverage.holes import COARSE_S, Windows
from mpp.coverage.knowledge import Knowledge

MOST_LOOKED_AT = 20
"""Maximum number of suspicious times that are examined in one comparison; if there are more, the newest ones are."""
_AT_ONCE = 24
"""Long windows that are asked for at once."""
_MOST_WITH_DATA = 2
"""How often such windows may have data against expectation before no more of them are read."""


@frozen
class CommonGapSearch:
    """The search for gaps of all servers in one span, with the fields of `mpp.coverage.history.comparison.Comparison`."""

    queries: PacedQueries
    knowledge: Knowledge
    selector: str
    backends: Sequence[Backend]
    until: float
    all_servers: bool

    async def run(self, coarse: Answers, windows: Windows, jobs: Mapping[str, Job]) -> Intervals:
        """
        Query the servers about suspicious times, and record the times without data in ``knowledge``.

        :param coarse: the sums over the witnesses, which are a few targets of each job; empty if no witness was found.
        :param jobs: the jobs of which two scrape intervals fit into `COARSE_S`; the others are scraped too rarely.
        :return: the common gaps in this span.
        :raise Interrupted: a server cannot be queried at the moment; nothing has been reported.
        """
        scale = Scale.of(jobs)
        looked_at = Intervals.of([(windows.start, windows.end)])
        times = list(candidates(coarse, windows, jobs) if coarse else looked_at)[::-1]
        found: list[EmptyTime] = []
        for place, (start, end) in enumerate(times):
            parts = await self._pieces(start, end, scale) if place < MOST_LOOKED_AT else []
            if not parts:
                looked_at -= Intervals.of([(start, end)])
            for pieces in parts:
                found += [await self._with_end(each, pieces, scale) for each in empty_times(pieces, scale)]
        self.knowledge.absent(looked_at, found, all_servers=self.all_servers)
        # If there is nothing until now, its end is found when some time has passed.
        until_now = (each.end for each in found if each.after is None and each.end > self.until - scale.interval)
        self.knowledge.look_later(Intervals.of((end - COARSE_S, end + COARSE_S) for end in until_now))
        return common_gaps(found)

    async def _pieces(self, start: float, end: float, scale: Scale) -> list[Pieces]:
        """
        Return the sums around a time: two lists if it has much data in the middle, which is not asked for as a whole then.

        :return: nothing if it would cost too much.
        """
        reach = COARSE_S + LEAST_INTERVALS * scale.interval
        left = Windows(math.floor(start - reach), scale.interval, math.ceil(2 * reach / scale.interval))
        between = max(0, math.floor((end - reach - left.end) / COARSE_S))
        middle = Windows(left.end, COARSE_S, between)
        right = Windows(middle.end, scale.interval, max(0, math.ceil((end + reach - middle.end) / scale.interval)))
        left, right = ended(left, self.until), ended(right, self.until)
        samples_per_s = sum(2 * job.targets / job.window for job in self.knowledge.jobs.values())
        can_afford = functools.partial(self.queries.can_afford, self.backends, samples_per_s=samples_per_s)
        if not can_afford(left) or not can_afford(right):
            return []
        pieces = [(left, await self._ask(left, samples_per_s))]
        with_data = 0
        for each in _in_pieces(middle):
            # Nothing is expected, so that it costs next to nothing.
            answers = await self._ask(each, 1.0)
            if any(answers.values()):
                with_data += 1
                fine = Windows(each.start, scale.interval, each.length * each.count // scale.interval)
                if with_data > _MOST_WITH_DATA or fine.end != each.end or not can_afford(fine):
                    return [pieces, [(right, await self._ask(right, samples_per_s))]]
                each, answers = fine, await self._ask(fine, samples_per_s)
            pieces.append((each, answers))
        return [[*pieces, (right, await self._ask(right, samples_per_s))]]

    async def _ask(self, windows: Windows, samples_per_s: float) -> Answers:
        """Query all targets of all servers."""
        path, series = functools.partial(sums_path, self.selector), len(self.knowledge.jobs)
        return {
            backend: await self.queries.sums(backend, path, windows, series=series, samples_per_s=samples_per_s)
            for backend in self.backends
            if windows.count
        }

    async def _with_end(self, empty: EmptyTime, pieces: Pieces, scale: Scale) -> EmptyTime:
        """Return the time with its evidence: the number of targets before it is 0 if they were removed, not lost."""
        if not empty.before:
            return empty
        path = present_path(self.selector, marked_at(empty))
        cost = SAMPLE_S * 10 * sum(job.targets for job in scale.jobs.values())
        for backend, targets in last_to_stop(pieces, empty).items():
            present = read_present(await self.queries.ask(backend, path, cost), scale.jobs)
            if present is None or present < ALIKE * targets:
                return evolve(empty, before=0)
        return empty


def _in_pieces(windows: Windows) -> list[Windows]:
    """Split windows into pieces of at most `_AT_ONCE`, the oldest one first."""
    starts = range(0, windows.count, _AT_ONCE)
    length = windows.length
    return [Windows(windows.start + at * length, length, min(_AT_ONCE, windows.count - at)) for at in starts]
