"""
What is kept of the configuration of a Prometheus server, to compare it with others: a short hash, the external labels, and
the scrape intervals. Pure.

The external labels are not part of the hash: by these the replicas of a pair are meant to be told apart.
"""

from __future__ import annotations

import hashlib

from attrs import frozen

from mpp.coverage.jobs import JobLines
from mpp.selection.probing import external_labels

# Lines of a configuration are far shorter; bounds what is held of one that is not.
MAX_LINE = 64 * 1024

# How a line ends within the JSON text of ``/api/v1/status/config``.
_LINE_END = b"\\n"
_HASH_BYTES = 6


@frozen
class ConfigSummary:
    """
    What is kept of a configuration.

    :ivar hash: of all but the external labels; empty when it is not known.
    :ivar labels: the external labels, see `mpp.selection.probing.external_labels.parse`.
    :ivar jobs: the scrape intervals, see `mpp.coverage.jobs`.
    """

    hash: str = ""
    labels: tuple[tuple[str, str], ...] | None = None
    jobs: tuple[tuple[str, float], ...] = ()


class ConfigHasher:
    """
    Reads a page that comes in pieces: the JSON response of ``/api/v1/status/config``.

    The server writes the configuration out by itself, in one canonical way, so the same configuration gives the same bytes;
    the section ``external_labels`` is one line, two spaces deep, and all deeper ones that follow.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=_HASH_BYTES)
        # The beginning of a line; an array, so that a line that comes byte by byte is not copied with each of them.
        self._rest = bytearray()
        self._skipping = False
        self._section = bytearray()
        self._jobs = JobLines()

    def feed(self, chunk: bytes) -> None:
        """Take the next piece, split anywhere."""
        # A line end may begin with the last byte of what came before, but no earlier: that has been searched.
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
        """Return what is kept of the complete page."""
        self._take(self._rest)
        self._rest = bytearray()
        is_whole = len(self._section) <= external_labels.MAX_SECTION
        labels = external_labels.parse(bytes(self._section)) if is_whole else None
        return ConfigSummary(self._hash.hexdigest(), labels, self._jobs.found())

    def _take(self, line: bytearray) -> None:
        if line.startswith(b"  external_labels:"):
            self._skipping = True
        elif not (self._skipping and line.startswith(b"   ")):
            self._skipping = False
            self._hash.update(line + b"\n")
            self._jobs.take(line)
            return
        if len(self._section) <= external_labels.MAX_SECTION:
            self._section += line + b"\n"
