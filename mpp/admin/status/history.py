"""The data that servers lack of their histories, as values of JSON. Pure."""

from __future__ import annotations

import math
from typing import Any

from mpp.admin.status.data import StatusView
from mpp.core.coverage import NOTHING, Hole
from mpp.core.model import Backend
from mpp.coverage.history.service import Progress

MOST_HOLES = 20
"""Maximum number of gaps that are listed of each server: the largest ones."""


def history(view: StatusView, backend: Backend) -> dict[str, Any]:
    """Return what a server lacks, and how far its history has been compared with the histories of the others."""
    progress = view.looked_back.get(backend, Progress())
    jobs, missing = view.coverage.jobs, view.coverage.missing.get(backend, NOTHING)
    total = sum(job.targets for job in jobs.values())
    holes: list[tuple[Hole, str | None]] = [(Hole(start, end, total, total), None) for start, end in missing.whole]
    holes += [(hole, job) for job, each in missing.jobs.items() for hole in each]
    holes.sort(key=lambda each: (_size(each[0], view.now), each[0].end), reverse=True)
    listed = sorted(holes[:MOST_HOLES], key=lambda each: (each[0].start, each[1] or ""))
    return {
        "missing_target_seconds": missing.weight(jobs, view.now),
        "missing": [_hole(hole, job) for hole, job in listed],
        "missing_always": [{"job": job, "targets": targets} for job, targets in sorted(missing.drift.items())],
        "looked_back": {
            "until": progress.until,
            "finished": progress.finished,
            "again": [{"start": start, "end": end} for start, end in progress.again],
            "problem": progress.problem,
        },
    }


def missing_on_all(view: StatusView) -> list[dict[str, Any]]:
    """Return the newest times in which no server has data, the oldest of them first."""
    return [{"start": _finite(start), "end": _finite(end)} for start, end in [*view.coverage.common][-MOST_HOLES:]]


def _size(hole: Hole, now: float) -> float:
    """Return the missing target-seconds of a gap, as far as it is past."""
    return hole.missing * max(0.0, min(hole.end, now) - max(hole.start, 0.0))


def _hole(hole: Hole, job: str | None) -> dict[str, Any]:
    return {
        "start": _finite(hole.start),
        "end": _finite(hole.end),
        "targets": hole.missing,
        "of": hole.of,
        "job": job,
    }


def _finite(time: float) -> float | None:
    return time if math.isfinite(time) else None
