"""
The Prometheus text format, as far as a few metrics of a large page must be found in it. Pure; knows no metric by name.

Source: Prometheus documentation, "Exposition formats", text format 0.0.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

Samples = dict[str, list[tuple[str, float]]]
"""By metric name: what stands between the braces (empty without labels), and the value."""

# Labels, help texts and values are far shorter; bounds what a page without line ends can make us hold.
MAX_LINE = 64 * 1024

# A label value may hold any character; quotes and backslashes in it are escaped, and so are line ends.
_SAMPLE = re.compile(rb'([^\s{]+)[ \t]*(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?[ \t]*(\S+)')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"')
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
        self._rest = b""
        self._overlong = False

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the page, split anywhere."""
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = self._rest + lines[0]
            self._take(lines[1:] if self._overlong else lines)
            self._rest, self._overlong = rest, False
        else:
            self._rest += rest
        if len(self._rest) > MAX_LINE:
            self._rest, self._overlong = b"", True

    def finish(self) -> Samples:
        """Give what was found. Call it when the page is complete: the value at the end of a torn page may lack digits."""
        if not self._overlong:
            self._take([self._rest])
        self._rest = b""
        return self._samples

    def _take(self, lines: list[bytes]) -> None:
        beginnings = self._beginnings
        for line in lines:
            if line.startswith(beginnings) or (line[:1] in b" \t" and line.lstrip(b" \t").startswith(beginnings)):
                self._sample(line.strip())

    def _sample(self, line: bytes) -> None:
        match = _SAMPLE.match(line)
        if match is None or match[1] not in self._wanted:
            return
        try:
            value = float(match[3])
        except ValueError:
            return
        labels = (match[2] or b"").decode("utf-8", "replace")
        self._samples.setdefault(match[1].decode(), []).append((labels, value))


def label(labels: str, name: str) -> str:
    """Give one label's value out of the text between the braces; empty when it is not there, as in Prometheus."""
    for found in _LABEL.finditer(labels):
        if found[1] == name:
            return re.sub(r'\\[n"\\]', lambda escape: _ESCAPES[escape[0]], found[2])
    return ""
