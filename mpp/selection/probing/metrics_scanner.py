"""
The Prometheus text format, as far as a few metrics of a large page must be found in it. Pure; knows no metric by name.

Source: Prometheus documentation, "Exposition formats", text format 0.0.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mpp.core.text.bounds import LONGEST_TEXT

Samples = dict[str, list[tuple[str, float]]]
"""By metric name: what stands between the braces (empty without labels), and the value."""

# Labels, help texts and values are far shorter; bounds what a page without line ends can make us hold.
MAX_LINE = 64 * 1024

# A label value may hold any character; quotes and backslashes in it are escaped, and so are line ends. "*+" and "++" never give
# back what they took: without them, a line that almost fits would be tried in as many ways as it has characters, or in as many
# ways as there are pairs of them.
_SAMPLE = re.compile(rb'([^\s{]++)[ \t]*+(?:\{([^"}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*"[^"}]*+)*)\})?[ \t]*+(\S+)')
# One label, behind the comma that ends the one before. From 3.0 on its name may be in quotes.
_LABEL = re.compile(r'[\s,]*+([a-zA-Z_][a-zA-Z0-9_]*+|"[^"\\]*+(?:\\.[^"\\]*+)*")\s*+=\s*+"([^"\\]*+(?:\\.[^"\\]*+)*)"')
_ESCAPE = re.compile(r'\\[n"\\]')
_ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}


class MetricsScanner:
    """
    Picks the samples of some metrics out of a page that comes in pieces.

    A line that is not wanted costs a comparison of its beginning. Lines that make no sense are skipped.

    :param wanted: full metric names.
    """

    def __init__(self, wanted: Iterable[str]) -> None:
        self._wanted = frozenset(name.encode() for name in wanted)
        self._beginnings = tuple(self._wanted)
        self._samples: Samples = {}
        # The beginning of a line; an array, so that a line that comes byte by byte is not copied with each of them.
        self._rest = bytearray()
        self._overlong = False

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the page, split anywhere."""
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
        """Give what was found. Call it when the page is complete: the value at the end of a torn page may lack digits."""
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
    Return one label's value out of the text between the braces; empty when it is not there, as in Prometheus.

    Labels are read from the first one on, up to where the text is no label.
    """
    at = 0
    while found := _LABEL.match(labels, at):
        if found[1] == name:
            return _ESCAPE.sub(lambda escape: _ESCAPES[escape[0]], found[2])
        at = found.end()
    return ""
