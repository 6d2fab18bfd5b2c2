"""
A summary of a Prometheus server's configuration: a short hash and the external labels for comparison with other servers, the
scrape intervals, and times such as timeouts. Pure.

The external labels are not part of the hash, because the replicas of a pair are meant to differ in them.
"""

from __future__ import annotations

import hashlib

from attrs import frozen

from mpp.selection.probing import external_labels
from mpp.selection.probing.config_jobs import JobLines
from mpp.selection.probing.config_times import NO_TIMES, ConfigTimes, TimeLines

# Lines of a configuration are far shorter; this bounds the buffer if one is not.
MAX_LINE = 64 * 1024

# How a line ends within the JSON text of ``/api/v1/status/config``.
_LINE_END = b"\\n"
_HASH_BYTES = 6


@frozen
class ConfigSummary:
    """
    A summary of a configuration.

    :ivar hash: hash of everything except the external labels; empty when it is not known.
    :ivar labels: the external labels, see `mpp.selection.probing.external_labels.parse`.
    :ivar jobs: the name and the scrape interval in seconds of each job, see `mpp.selection.probing.config_jobs`.
    :ivar times: how late a sample may still appear, and the default step of subqueries.
    """

    hash: str = ""
    labels: tuple[tuple[str, str], ...] | None = None
    jobs: tuple[tuple[str, float], ...] = ()
    times: ConfigTimes = NO_TIMES


class ConfigHasher:
    """
    A parser that summarizes the JSON response of ``/api/v1/status/config``, fed in pieces.

    The server writes the configuration in one canonical way, so the same configuration yields the same bytes; the section
    ``external_labels`` is one line, two spaces deep, and all deeper lines that follow.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=_HASH_BYTES)
        # The start of a line; an array, so that a line that arrives byte by byte is not copied with each of them.
        self._rest = bytearray()
        self._skipping = False
        self._section = bytearray()
        self._jobs = JobLines()
        self._times = TimeLines()

    def feed(self, chunk: bytes) -> None:
        """Parse the next piece, which may end anywhere."""
        # A line end may begin with the last byte of the previous pieces, but no earlier: these have been searched.
        searched = max(0, len(self._rest) - 1)
        self._rest += chunk
        if self._rest.find(_LINE_END, searched) >= 0:
            *lines, self._rest = self._rest.split(_LINE_END)
            for line in lines:
                self._take(line)
        if len(self._rest) > MAX_LINE:
            # The last byte may be the first half of a line end.
            self._hash.update(self._rest[:-1])
            del self._rest[:-1]

    def finish(self) -> ConfigSummary:
        """Return the summary of the complete page."""
        self._take(self._rest)
        self._rest = bytearray()
        is_whole = len(self._section) <= external_labels.MAX_SECTION
        labels = external_labels.parse(bytes(self._section)) if is_whole else None
        return ConfigSummary(self._hash.hexdigest(), labels, self._jobs.found(), self._times.found())

    def _take(self, line: bytearray) -> None:
        if line.startswith(b"  external_labels:"):
            self._skipping = True
        elif not (self._skipping and line.startswith(b"   ")):
            self._skipping = False
            self._hash.update(line + b"\n")
            self._jobs.take(line)
            self._times.take(line)
            return
        if len(self._section) <= external_labels.MAX_SECTION:
            self._section += line + b"\n"
