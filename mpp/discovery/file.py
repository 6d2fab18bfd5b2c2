"""
The locator of the endpoints file, which has one endpoint per line. Knows files; `mpp.core.backend_url` parses endpoints.

The file is small and local and read again in every round, so it is read synchronously.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

from twisted.internet.defer import Deferred, fail, succeed
from txaio.tx import make_logger
from zope.interface import implementer

from mpp.core.backend_url import parse_endpoint
from mpp.core.errors import DiscoveryError
from mpp.core.files import read_small
from mpp.core.interfaces import ILocator
from mpp.core.model import MIB, Backend, DiscoveredBackend
from mpp.discovery.target_groups import ParsedBackends, decoded

_log = make_logger()

# Room for some 20,000 endpoints; a larger file is no endpoints file.
MAX_BYTES = 1 * MIB

_COMMENT = re.compile(r"(?:^|\s)#.*", re.DOTALL)


def read_endpoints(text: str) -> ParsedBackends:
    """
    Parse the text of an endpoints file: one endpoint per line; blank lines and ``#`` comments are skipped. Pure.

    :return: each of its problems is ``line number: problem``, for a line that is no endpoint.
    """
    backends: dict[Backend, None] = {}
    problems = []
    for number, entry in _entries(text):
        try:
            backends.setdefault(parse_endpoint(entry))
        except ValueError as error:
            problems.append(f"{number}: {error}")
    return ParsedBackends(tuple(backends), tuple(problems))


def _entries(text: str) -> Iterator[tuple[int, str]]:
    # Not splitlines(), which also splits at characters that editors do not count as line ends.
    for number, line in enumerate(text.split("\n"), start=1):
        entry = _COMMENT.sub("", line).strip()
        if entry:
            yield number, entry


@implementer(ILocator)
class FileLocator:
    """
    A locator of the backends listed in a file, which is read at every look-up.

    A line that is no endpoint is logged when it appears or changes, not at every look-up.

    :param path: the file; a relative path is resolved when the locator is built, against the current directory.
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
        Read the file, and return its backends.

        :return Deferred(tuple): has fired already. Fails with `DiscoveryError` when the file is missing, unreadable, too large
            or not UTF-8; when it has no byte, because it may be in the middle of being written (a file with only a comment
            is a valid empty list); and when it has entries of which none is an endpoint, because it may be another file.
        """
        try:
            parsed = read_endpoints(_read(self._path))
        except DiscoveryError as error:
            return fail(error)
        self._log_problems(parsed.problems)
        if parsed.problems and not parsed.backends:
            return fail(DiscoveryError(f"{self._path}: no line is an endpoint; line {parsed.problems[0]}"))
        return succeed(tuple(map(DiscoveredBackend, parsed.backends)))

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the file now, one line each, with its name; nothing is logged."""
        try:
            parsed = read_endpoints(_read(self._path))
        except DiscoveryError as error:
            yield str(error)
        else:
            yield from (f"{self._path}:{problem}" for problem in parsed.problems)

    def start(self, changed: Callable[[], None]) -> None:
        """Do nothing, because the file is read at every look-up."""

    def stop(self) -> None:
        """Do nothing, because there is nothing to stop."""

    def _log_problems(self, problems: tuple[str, ...]) -> None:
        for problem in problems:
            if problem not in self._known_problems:
                _log.warn("{path}:{problem}; line skipped", path=self._path, problem=problem)
        self._known_problems = frozenset(problems)


def _read(path: str) -> str:
    try:
        data = read_small(path, MAX_BYTES, "an endpoints file")
        if not data:
            raise ValueError("empty; expected at least one endpoint or comment")
        return decoded(data)
    except ValueError as error:
        raise DiscoveryError(f"{path}: {error}") from None
