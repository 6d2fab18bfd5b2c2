"""
The changes of gaps that go on, by the findings of the survey and of the look back. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from attrs import evolve

from mpp.core.coverage import Hole, Job, Missing
from mpp.core.intervals import ALWAYS, Intervals

SAME_SHARE = 0.05
"""Smallest change of a number of targets, as a share of all, that counts; smaller changes come with every survey."""


def _open(missing: Missing) -> dict[str, Hole]:
    return {job: hole for job, holes in missing.jobs.items() for hole in holes if hole.end == math.inf}


def is_unchanged(before: Missing, now: Missing) -> bool:
    """Return whether a server lacks as much as before, by two findings of the survey."""
    old, new = _open(before), _open(now)
    if bool(before.whole) != bool(now.whole) or old.keys() != new.keys():
        return False
    return all(abs(old[job].missing - new[job].missing) <= SAME_SHARE * max(old[job].of, new[job].of) for job in new)


def begun(now: Missing, before: Missing, at: float) -> Missing:
    """Return ``now``, in which gaps begin at ``at`` if they were open before: their past is recorded with its own numbers."""
    from_now = Intervals.of([(at, math.inf)])
    old, all_old = _open(before), bool(before.whole)
    jobs = {
        job: [evolve(hole, start=max(hole.start, at)) for hole in holes if hole.end > at] if all_old or job in old else holes
        for job, holes in now.jobs.items()
    }
    return Missing.of(now.whole & from_now if all_old else now.whole, jobs)


def with_beginning(live: Missing, times: Intervals, asked: Collection[str], by: Missing, jobs: Mapping[str, Job]) -> Missing:
    """
    Return gaps that go on, without their parts in times in which the look back has found when they began.

    :param times: the times that it has compared.
    :param asked: the jobs that it has compared.
    :param by: what it has found there, which says more exactly what is missing.
    :param jobs: all jobs.
    """
    seen = by.only(live.times & times)
    if not seen.times:
        return live
    rest = live.only(ALWAYS - times)
    kept: dict[str, Sequence[Hole]] = {}
    for job, holes in live.jobs.items():
        kept[job] = rest.jobs.get(job, ()) if job in asked and (seen.whole or job in seen.jobs) else holes
    for job in jobs.keys() - set(asked):
        # Where all jobs were missing, the ones that were not asked still are.
        most = jobs[job].targets
        kept[job] = (*kept.get(job, ()), *(Hole(start, end, most, most) for start, end in live.whole & times))
    return Missing.of(rest.whole, kept)
