"""
A scanner for the Prometheus text format that finds a few metrics in a large page. Pure; knows no metric by name.

Source: Prometheus documentation, "Exposition formats", text format 0.0.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mpp.core.text.bounds import LONGEST_TEXT

Samples = dict[str, list[tuple[str, float]]]
"""The samples of each metric, by its name: pairs of the text between the braces (empty without labels), and the value."""

# Labels, help texts and values are far shorter; this bounds the buffer for a page without line ends.
MAX_LINE = 64 * 1024

# A label value may hold any character; quotes, backslashes and line ends in it are escaped. "*+" and "++" never backtrack:
# otherwise a line that almost matches would be tried in as many ways as it has characters, or pairs of them.
_SAMPLE = re.compile(rb'([^\s{]++)[ \t]*+(?:\{([^"}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*"[^"}]*+)*)\})?[ \t]*+(\S+)')
# One label, behind the comma that ends the one before. From 3.0 on its name may be in quotes.
_LABEL = re.compile(r'[\s,]*+([a-zA-Z_][a-zA-Z0-9_]*+|"[^"\\]*+(?:\\.[^"\\]*+)*")\s*+=\s*+"([^"\\]*+(?:\\.[^"\\]*+)*)"')
_ESCAPE = re.compile(r'\\[n"\\]')
_ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}


class MetricsScanner:
    """
    A scanner that extracts the samples of some metrics from a page fed in pieces.

    Only the start of a line is compared if it has another metric, so a large page takes little time. Malformed lines are skipped.

    :param wanted: the full names of the metrics.
    """

    def __init__(self, wanted: Iterable[str]) -> None:
        self._wanted = frozenset(name.encode() for name in wanted)
        self._beginnings = tuple(self._wanted)
        self._samples: Samples = {}
        # The start of a line; an array, so that a line that arrives byte by byte is not copied with each of them.
        self._rest = bytearray()
        self._overlong = False

    def feed(self, chunk: bytes) -> None:
        """Scan the next piece of the page, which may end anywhere."""
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = bytes(self._rest) + lines[0]
            self._take(lines[1:] if self._overlong else lines)
            self._rest, self._overlong = bytearray(rest), False
        else:
            self._rest += rest
        if len(self._rest) > MAX_LINE:
            self._rest, self._overlong = bytearray(), True

    def finish(self) -> Samples:
        """Return the samples found. Call this when the page is complete: the last value of a truncated page may lack digits."""
        if not self._overlong:
            self._take([bytes(self._rest)])
        self._rest = bytearray()
        return self._samples

    def _take(self, lines: list[bytes]) -> None:
        beginnings = self._beginnings
        for line in lines:
            if line.startswith(beginnings) or (line[:1] in b" \t" and line.lstrip(b" \t").startswith(beginnings)):
                self._sample(line.strip())

    def _sample(self, line: bytes) -> None:
        match = _SAMPLE.match(line)
        if match is None or match[1] not in self._wanted or len(match[3]) > LONGEST_TEXT:
            return
        try:
            value = float(match[3])
        except ValueError:
            return
        labels = (match[2] or b"").decode("utf-8", "replace")
        self._samples.setdefault(match[1].decode(), []).append((labels, value))


def label(labels: str, name: str) -> str:
    """
    Return the value of a label in the text between the braces of a sample; empty when it has no such label, as in Prometheus.

    Labels that follow malformed text are not found.
    """
    at = 0
    while found := _LABEL.match(labels, at):
        if found[1] == name:
            return _ESCAPE.sub(lambda escape: _ESCAPES[escape[0]], found[2])
        at = found.end()
    return ""
