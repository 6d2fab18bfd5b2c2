"""
Finds what servers lack of their history, by the sums of ``up`` over windows of time that each of them has answered. Pure.

# Note [Looking back]

Each server is asked for ``sum by (job)(sum_over_time(up[window]))`` at a step of one window, so that each sample is read once and
none falls between. First for a few witnesses of each job, in windows of `COARSE_S`: a window in which a server has less than
`SUSPICIOUS` of the best one is looked at again, in windows of two scrape intervals and with all targets. There the rules for the
newest data count, see Note [What is a lack] in `mpp.coverage.lacks`: two bad windows in a row, three of a small job, one of a
whole server; then the job is lacking until it is whole.

A gap may have begun before its first bad window, unseen as long as enough was there: the smaller the part that is missing, the
more of a window passes before it shows. So a gap begins earlier by as much, one window at most.

A server that cannot be asked counts as equal. One that says that it cannot read its storage lacks the piece that it was asked
for.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from enum import Enum

from attrs import define, frozen

from mpp.core.coverage import UNKNOWN_JOB, Hole, Job, Missing
from mpp.core.errors import UpstreamError
from mpp.core.intervals import Intervals
from mpp.core.model import Backend
from mpp.core.prometheus.runtimeinfo import ProbeOutcome, data_of, parse_object
from mpp.core.prometheus.storage_errors import is_storage_error
from mpp.coverage.lacks import LACKING, SMALL, WHOLE

COARSE_S = 300
"""Seconds in a window of the witnesses: measured, a restart of 20 s leaves 91 to 94 % of its samples, no restart 100 %."""
SUSPICIOUS = 0.97
WITNESSES_OF_A_JOB = 2
"""Maximum number of targets that stand for all targets of a job."""

_DRIFT = 0.99
_SCRAPES = 2
"""Scrapes of each target in a window of its job."""


class Unanswered(Enum):
    """The reason why a server has returned no sums."""

    UNKNOWN = "unknown"
    """The server could not be queried, so mpp assumes that it lacks nothing."""
    UNREADABLE = "unreadable"
    """The server cannot read its storage for the queried time, so it lacks all data of that time."""
    TOO_MUCH = "too much"
    """The server refuses to read so many samples at once; it is queried again for shorter times."""


Sums = Mapping[str, Mapping[int, float]]
"""The sums of ``up`` by job, and by the end of the window in seconds since the epoch. A sum that is absent is 0."""


@frozen
class Windows:
    """
    Windows of time, each beginning where the one before it ends.

    :ivar start: the beginning of the first window, in seconds since the epoch.
    :ivar length: the length of each window, in seconds.
    :ivar count: the number of windows.
    """

    start: int
    length: int
    count: int

    @property
    def end(self) -> int:
        """The end of the last window, in seconds since the epoch."""
        return self.start + self.length * self.count

    @property
    def ends(self) -> range:
        """The ends of the windows, which are the steps of the range query."""
        return range(self.start + self.length, self.end + 1, self.length)


def read_sums(outcome: ProbeOutcome) -> Sums | Unanswered:
    """Return the sums of ``up`` in the response of a server, or why it has none."""
    if isinstance(outcome, UpstreamError):
        return Unanswered.UNKNOWN
    if outcome.status in (422, 500):
        error = parse_object(outcome.body).get("error")
        text = error if isinstance(error, str) else ""
        if "too many samples" in text:
            return Unanswered.TOO_MUCH
        return Unanswered.UNREADABLE if is_storage_error(text) else Unanswered.UNKNOWN
    result = (data_of(outcome) or {}).get("result")
    if not isinstance(result, list):
        return Unanswered.UNKNOWN
    found: dict[str, dict[int, float]] = {}
    try:
        for series in result:
            job = found.setdefault(str(series["metric"].get("job", "")), {})
            job.update((round(time), float(value)) for time, value in series["values"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return Unanswered.UNKNOWN
    return found


def suspicious(
    answers: Mapping[Backend, Sums | Unanswered], windows: Windows, jobs: Mapping[str, Job]
) -> Generator[None, None, dict[Backend, dict[str, Intervals]]]:
    """
    Return the windows to look at again, by server and job: a server has fewer samples in them than the best server. Pause after
    each job, because all jobs may take some tens of milliseconds.

    Where a window is no multiple of the scrape interval, one server has a sample of each target more than another one now and
    then, which does not count.

    :param jobs: what is known of the jobs of all servers.
    """
    known = _known(answers)
    found: dict[Backend, dict[str, Intervals]] = {}
    for job in _jobs(known.values()):
        uneven = windows.length * _SCRAPES % jobs.get(job, UNKNOWN_JOB).window > 0
        best = {end: max(sums.get(job, {}).get(end, 0.0) for sums in known.values()) for end in windows.ends}
        for backend, sums in known.items():
            own = sums.get(job, {})
            bad = [
                (end - windows.length, end)
                for end, most in best.items()
                if own.get(end, 0.0) < SUSPICIOUS * most and (not uneven or most - own.get(end, 0.0) > WITNESSES_OF_A_JOB)
            ]
            if bad:
                found.setdefault(backend, {})[job] = Intervals.of(bad)
        yield
    return found


def judged(
    answers: Mapping[Backend, Sums | Unanswered], windows: Windows, jobs: Mapping[str, Job], *, all_jobs: bool
) -> Generator[None, None, dict[Backend, Missing]]:
    """
    Return what each server lacks in some windows. Pause after each job, as `suspicious` does.

    :param answers: the sums over all targets of some jobs, by server.
    :param jobs: what is known of the jobs of all servers.
    :param all_jobs: the sums cover all jobs, so that a server without any of them in a window lacks all of its data there.
    """
    known, best = _known(answers), {}
    for job in _jobs(known.values()):
        best[job] = {end: max(sums.get(job, {}).get(end, 0.0) for sums in known.values()) for end in windows.ends}
        yield
    found = {}
    for backend, answer in answers.items():
        if answer is Unanswered.UNREADABLE:
            found[backend] = Missing(Intervals.of([(windows.start, windows.end)]))
        elif not isinstance(answer, Unanswered):
            gone = _gone(answer, best, windows) if all_jobs else frozenset()
            part = _part(answer, best, windows, gone)
            holes = {}
            for job, sums in best.items():
                holes[job] = _holes(answer.get(job, {}), sums, windows, jobs.get(job, UNKNOWN_JOB), gone | part)
                yield
            whole = ((end - windows.length * ((2 - LACKING) if end in gone else 1), end) for end in gone | part)
            found[backend] = Missing.of(Intervals.of(whole), holes)
            yield
    return {backend: missing for backend, missing in found.items() if missing}


def _known(answers: Mapping[Backend, Sums | Unanswered]) -> dict[Backend, Sums]:
    return {backend: answer for backend, answer in answers.items() if not isinstance(answer, Unanswered)}


def _jobs(known: Iterable[Sums]) -> list[str]:
    return sorted(set().union(*known))


def _gone(own: Sums, best: Sums, windows: Windows) -> frozenset[int]:
    """Return the ends of the windows in which a server has nothing at all, and another one has something."""
    there = {end for sums in own.values() for end, value in sums.items() if value}
    others = {end for sums in best.values() for end, value in sums.items() if value}
    return frozenset(end for end in windows.ends if end in others and end not in there)


def _part(own: Sums, best: Sums, windows: Windows, gone: frozenset[int]) -> frozenset[int]:
    """Return the ends of the windows beside the ones in which a server has nothing, in which it has only a part."""
    beside = {end + step for end in gone for step in (-windows.length, windows.length)} - gone
    return frozenset(end for end in beside if _total(own, end) < LACKING * _total(best, end))


def _total(sums: Sums, end: int) -> float:
    return sum(job.get(end, 0.0) for job in sums.values())


@define
class _BadWindows:
    """
    Consecutive windows in which targets are missing.

    :ivar start: the beginning of the first window.
    :ivar end: the end of the last window.
    :ivar count: the number of windows.
    :ivar first: the number of targets that are missing in the first window.
    :ivar missing: the largest number of targets that are missing in one window.
    :ivar of: the number of targets that the best server has in that window.
    :ivar sure: the server has nothing before or after them.
    """

    start: int
    end: int
    count: int = 0
    first: int = 0
    missing: int = 0
    of: int = 1
    sure: bool = False


def _holes(own: Mapping[int, float], best: Mapping[int, float], windows: Windows, job: Job, whole: frozenset[int]) -> list[Hole]:
    """Return the gaps of one job on one server, apart from the windows in which the server lacks all jobs."""
    per_target = _SCRAPES * windows.length / job.window
    found: list[Hole] = []
    run: _BadWindows | None = None
    for end in windows.ends:
        had, expected = own.get(end, 0.0) / per_target, best.get(end, 0.0) / per_target
        lacking = run is not None and (run.sure or run.count >= (3 if run.of <= SMALL else 2))
        if end not in whole and expected and (_is_bad(had, expected) or (lacking and not _is_whole(had, expected))):
            run = run or _BadWindows(end - windows.length, end, sure=end - windows.length in whole)
            run.end, run.count = end, run.count + 1
            missing = max(1, round(expected - had))
            run.first = run.first or missing
            if missing > run.missing:
                run.missing, run.of = missing, max(missing, round(expected))
        elif run is not None:
            run.sure |= end in whole
            found += _closed(run, windows.length)
            run = None
    return [*found, *_closed(run, windows.length)]


def _closed(run: _BadWindows | None, length: int) -> list[Hole]:
    """Return the gap that consecutive bad windows form, or nothing if they are too few."""
    if run is None or not (run.sure or run.count >= (3 if run.of <= SMALL else 2)):
        return []
    if run.first < LACKING * run.missing:
        # It began within this window.
        return [Hole(run.start, run.end, run.missing, run.of)]
    unseen = (0.5 if run.of <= SMALL else 1 - LACKING) * run.of / run.missing
    return [Hole(run.start - length * min(1.0, unseen), run.end, run.missing, run.of)]


def _is_bad(own: float, best: float) -> bool:
    if round(best) <= SMALL:
        return own <= best / 2
    return own == 0 or (own < LACKING * best and best - own >= 2)


def _is_whole(own: float, best: float) -> bool:
    return own >= best if round(best) <= SMALL else own >= WHOLE * best


def younger(oldest: Mapping[Backend, float | None], tolerance: float = 0.0) -> dict[Backend, Missing]:
    """
    Return what servers lack because their history is shorter: the time from the oldest sample of all servers to their own.

    :param oldest: the time of the oldest sample of each server, seconds since the epoch; None if it is not known.
    :param tolerance: seconds; a smaller difference is ignored, such as that of two servers that were started together.
    """
    first = min((time for time in oldest.values() if time is not None), default=0.0)
    return {
        backend: Missing(Intervals.of([(first, time)]))
        for backend, time in oldest.items()
        if time is not None and time > first + tolerance
    }


def with_drift(missing: Missing, start: float, end: float, unconfigured: Collection[str] = ()) -> Missing:
    """
    Replace gaps by drift if they last for all of the compared time, or the configuration of the server does not have the job.

    :param start: the oldest time that was compared.
    :param end: the newest time that was compared.
    :param unconfigured: the jobs that only other servers have in their configurations.
    """
    looked_at = Intervals.of([(start, end)]) - missing.whole
    least = _DRIFT * looked_at.measure

    def is_lasting(holes: Sequence[Hole]) -> bool:
        # Together they are mostly too short, wherever they are.
        if not sum(hole.end - hole.start for hole in holes) >= least > 0:
            return False
        return (Intervals.of((hole.start, hole.end) for hole in holes) & looked_at).measure >= least

    drift, jobs = dict(missing.drift), {}
    for job, holes in missing.jobs.items():
        if job in unconfigured or is_lasting(holes):
            drift[job] = max(hole.missing for hole in holes)
        else:
            jobs[job] = holes
    return Missing(missing.whole, jobs, drift)
