"""
The times in a server's configuration that decide how late a sample may still appear, and the default step of subqueries. Pure.

# Note [When the past is settled]

A sample has the time at which its scrape began, and is stored when the scrape has ended. So a query for a time of which some
scrape has not ended yet has another result a little later. The same holds for the result of a recording rule, which has the time
of its evaluation less the group's ``query_offset``, and for samples that arrive out of order. `ConfigTimes.settles_s` is the age
at which a time is settled: the longest of all jobs, 1.1 scrape intervals and the scrape timeout, and added to it the offset and
the window for samples out of order. Jobs that are scraped less often than every two minutes are left out, because a dashboard
would lag behind by their interval.

Source: Prometheus documentation, "Configuration". The server writes its configuration in one canonical way with all defaults
filled in. Two things are not written there: the jobs in ``scrape_config_files``, which count here as jobs with the global
interval and timeout, and the ``query_offset`` of a rule group that has its own one.
"""

from __future__ import annotations

from attrs import frozen

from mpp.core.prometheus.durations import seconds
from mpp.core.text import bounds
from mpp.selection.probing.config_jobs import scalar

MOST_INTERVAL_S = 120.0
"""The longest scrape interval, in seconds, with which a job counts for `ConfigTimes.settles_s`."""
INTERVALS = 1.1
"""The longest time between two samples of a target, as a multiple of the scrape interval: some scrapes are a little late."""
DEFAULT_TIMEOUT_S = 10.0
"""Prometheus' default of ``scrape_timeout``, in seconds."""
LONGEST_NAME = 100
"""Maximum number of characters that are kept of a job's name."""

_FILES = b"scrape_config_files"


@frozen
class ConfigTimes:
    """
    The times in a configuration.

    :ivar settles_s: how old a time must be, in seconds, until no more samples of that time are expected; 0 when not known. See
        Note [When the past is settled].
    :ivar settles_job: the name of the job that makes ``settles_s`` so long; empty if no job counts. For the jobs in other files
        it is ``scrape_config_files``.
    :ivar evaluation_s: the global ``evaluation_interval`` in seconds, which is the default step of a subquery; None when not
        known.
    """

    settles_s: float = 0.0
    settles_job: str = ""
    evaluation_s: float | None = None


NO_TIMES = ConfigTimes()
"""The value of `ConfigTimes` for a configuration that is not known."""


class TimeLines:
    """A parser of `ConfigTimes` that reads a configuration line by line, escaped as in the JSON response."""

    def __init__(self) -> None:
        self._section = b""
        self._globals: dict[bytes, float] = {}
        self._job = b""
        self._scrape: dict[bytes, float] = {}
        self._longest = 0.0
        self._longest_job = b""
        self._window = 0.0

    def take(self, line: bytearray) -> None:
        """Parse the next line of the configuration, without its line end."""
        if not line.startswith((b" ", b"-")):
            # The first line follows the beginning of the JSON object.
            self._begin(bytes(line[-LONGEST_NAME:]).rpartition(b'"')[2])
        elif line.startswith(b"- "):
            self._end_job()
            self._job = bytes(line[2:]).partition(b"job_name: ")[2]
        elif line.startswith(b"   "):
            if self._section == b"storage:" and line.startswith(b"    out_of_order_time_window: "):
                self._window = _value(line) or 0.0
        elif self._section == b"global:":
            _put(self._globals, line)
        elif self._job and line.startswith(b"  scrape_"):
            _put(self._scrape, line)

    def found(self) -> ConfigTimes:
        """Return the times in the configuration; call this after the last line."""
        self._end_job()
        job = scalar(self._longest_job) or self._longest_job.decode("utf-8", "replace")
        settles = self._longest + self._globals.get(b"rule_query_offset", 0.0) + self._window
        return ConfigTimes(
            min(settles, bounds.LONGEST_SPAN), bounds.line(job, LONGEST_NAME), self._globals.get(b"evaluation_interval")
        )

    def _begin(self, section: bytes) -> None:
        self._end_job()
        self._section = section
        if section == _FILES + b":":
            self._count(_FILES, self._globals)

    def _end_job(self) -> None:
        if self._job:
            self._count(self._job, self._scrape)
        self._job, self._scrape = b"", {}

    def _count(self, job: bytes, found: dict[bytes, float]) -> None:
        interval = found.get(b"scrape_interval", 0.0)
        if not 0 < interval <= MOST_INTERVAL_S:
            return
        timeout = found.get(b"scrape_timeout", self._globals.get(b"scrape_timeout", DEFAULT_TIMEOUT_S))
        # A timeout is never longer than its interval; only the global one, if it stands in for another, might be.
        settles = INTERVALS * interval + min(timeout, interval)
        if settles > self._longest:
            self._longest, self._longest_job = settles, job


def _put(found: dict[bytes, float], line: bytearray) -> None:
    """Record the duration in a line such as ``  scrape_interval: 15s``; other lines are ignored."""
    value = _value(line)
    if value is not None:
        found[bytes(line[2:]).partition(b":")[0]] = value


def _value(line: bytearray) -> float | None:
    return seconds(bytes(line[-bounds.LONGEST_TEXT :]).rpartition(b": ")[2].decode("latin-1"))
