"""
A parser that extracts the scrape jobs and their intervals from a server's configuration without keeping the configuration. Pure.

Source: Prometheus documentation, "Configuration", ``scrape_configs``. The server writes its configuration in one canonical way
with all defaults filled in, so each job has its ``scrape_interval``.
"""

from __future__ import annotations

from mpp.core.prometheus.durations import seconds
from mpp.coverage.windows import Jobs

MAX_JOBS = 500
"""Maximum number of jobs that are read from a configuration; further jobs are ignored."""
MAX_NAME = 200
"""Maximum length of a job's name in characters; jobs with longer names are ignored."""

LONGEST_INTERVAL_S = 86400.0
"""Seconds; a longer interval counts as this: every server is asked about the last two intervals, even if only one reports it."""

_INTERVAL = b"  scrape_interval: "


class JobLines:
    """A parser of scrape jobs and intervals that reads a configuration line by line, escaped as in its JSON response."""

    def __init__(self) -> None:
        self._job = ""
        self._found: dict[str, float] = {}

    def take(self, line: bytearray) -> None:
        """Parse the next line of the configuration, without its line end."""
        if line.startswith(b"- job_name: "):
            self._job = scalar(bytes(line[12:]))
        elif self._job and line.startswith(_INTERVAL):
            interval = seconds(line[len(_INTERVAL) :].decode("latin-1"))
            if interval and len(self._found) < MAX_JOBS:
                self._found[self._job] = min(interval, LONGEST_INTERVAL_S)
            self._job = ""

    def found(self) -> Jobs:
        """Return the scrape intervals in seconds, by job name."""
        return tuple(sorted(self._found.items()))


def scalar(written: bytes) -> str:
    """Return the value of a YAML scalar that is written in a JSON string; "" if it is too long or has further escapes."""
    text = written.decode("utf-8", "replace")
    if text[:2] == '\\"' == text[-2:]:
        text = text[2:-2]
    elif text[:1] == "'" == text[-1:]:
        text = text[1:-1].replace("''", "'")
    return text if 0 < len(text) <= MAX_NAME and "\\" not in text else ""
