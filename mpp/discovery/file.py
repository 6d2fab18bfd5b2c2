"""
The endpoints file: one endpoint per line. Knows files and lines; what an endpoint looks like is `mpp.core.backend_url`.

The file is small and local and read anew at every round, so it is read directly.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

from attrs import frozen
from twisted.internet.defer import Deferred, fail, succeed
from txaio.tx import make_logger
from zope.interface import implementer

from mpp.core.backend_url import parse_endpoint
from mpp.core.errors import DiscoveryError
from mpp.core.files import UnreadableFile, read_small
from mpp.core.interfaces import ILocator
from mpp.core.model import MIB, Backend, DiscoveredBackend

_log = make_logger()

# Room for some 20,000 endpoints; what is larger is not an endpoints file.
MAX_BYTES = 1 * MIB

_COMMENT = re.compile(r"(?:^|\s)#.*", re.DOTALL)


@frozen
class ParsedEndpoints:
    """
    What the text of an endpoints file says.

    :ivar backends: in the file's order, each once.
    :ivar problems: ``line: what is wrong``, for each line that is no endpoint.
    """

    backends: tuple[Backend, ...]
    problems: tuple[str, ...]


def read_endpoints(text: str) -> ParsedEndpoints:
    """Give the endpoints of a file's text, one per line; blank lines and ``#`` comments do not count. Pure."""
    backends: dict[Backend, None] = {}
    problems = []
    for number, entry in _entries(text):
        try:
            backends.setdefault(parse_endpoint(entry))
        except ValueError as error:
            problems.append(f"{number}: {error}")
    return ParsedEndpoints(tuple(backends), tuple(problems))


def _entries(text: str) -> Iterator[tuple[int, str]]:
    # Not splitlines(), which also ends lines at characters that no editor counts.
    for number, line in enumerate(text.split("\n"), start=1):
        entry = _COMMENT.sub("", line).strip()
        if entry:
            yield number, entry


@implementer(ILocator)
class FileLocator:
    """
    Backends listed in a file, read at every look-up.

    A line that is no endpoint is logged when it appears or changes, not at every look-up.

    :param path: the file; a relative path is taken from the directory that is current now.
    """

    def __init__(self, path: str, name: str = "file") -> None:
        self.name = name
        # twistd may change the current directory before the first look-up.
        self._path = os.path.abspath(path)
        self.sought, self.explicit = f"backends in {self._path}", False
        self._known_problems: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<FileLocator {self._path}>"

    def locate(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
        """
        Read the file.

        :return Deferred(tuple): has fired already. Fails with `DiscoveryError` when the file is gone, unreadable, too large or
            not UTF-8, when it has no byte at all (somebody is writing it; a list may be emptied by a comment), and when it has
            lines of which none is an endpoint: that is not an endpoints file, or a torn one.
        """
        try:
            parsed = read_endpoints(_read(self._path))
        except DiscoveryError as error:
            return fail(error)
        self._log_problems(parsed.problems)
        if parsed.problems and not parsed.backends:
            return fail(DiscoveryError(f"{self._path}: no line is an endpoint; line {parsed.problems[0]}"))
        return succeed(tuple(map(DiscoveredBackend, parsed.backends)))

    def start(self, changed: Callable[[], None]) -> None:
        """Do nothing: the file is read at every look-up."""

    def stop(self) -> None:
        """Do nothing."""

    def _log_problems(self, problems: tuple[str, ...]) -> None:
        for problem in problems:
            if problem not in self._known_problems:
                _log.warn("{path}:{problem}; line skipped", path=self._path, problem=problem)
        self._known_problems = frozenset(problems)


def _read(path: str) -> str:
    try:
        data = read_small(path, MAX_BYTES, "an endpoints file")
    except UnreadableFile as error:
        raise DiscoveryError(f"{path}: {error}") from None
    if not data:
        raise DiscoveryError(f"{path}: empty; expected at least one endpoint or comment")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DiscoveryError(f"{path}: not UTF-8 text (byte {error.start})") from error
