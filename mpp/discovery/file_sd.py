"""
The locator of Prometheus' file_sd: files of target groups. Knows files, folders and patterns;
`mpp.discovery.target_groups` parses their content.

Each file is independent: a file that becomes unusable keeps its last backends, while changes of the other files take effect
(Note [Broken files]). The files are small and local and read again in every round, so they are read synchronously; a file is
parsed only when its content has changed.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, fail, succeed
from txaio.tx import make_logger
from zope.interface import implementer

from mpp.core.errors import ConfigError, PartlyDiscovered
from mpp.core.files import read_small
from mpp.core.interfaces import ILocator
from mpp.core.model import MIB, Backend, DiscoveredBackend
from mpp.discovery.target_groups import ParsedBackends, decoded, parse_json, parse_yaml, read_groups

_log = make_logger()

# Room for more than the maximum number of targets of a file.
MAX_BYTES = 1 * MIB
# The files are read on the reactor's thread; this many small files take some 10 ms.
MAX_FILES = 1000

# As in Prometheus: wildcards are allowed in the last path element only, and the extension determines the format.
_NAME = re.compile(r"[^*]*(\*[^/]*)?\.(json|yml|yaml|JSON|YML|YAML)")
_WILDCARD = re.compile(r"[*?\[]")
# Maximum number of problems in one message; the others are reported when these are fixed.
_MAX_SHOWN = 3

# Note [Broken files]
# A locator either returns its list or fails, and a failure keeps the whole last list. Here one of many files can be broken while
# the others change, and both must be visible: the failure (PartlyDiscovered, which is counted and logged like every other one)
# carries the list that applies nevertheless: the last good content of the broken file and the new content of the others.


@frozen
class _File:
    """
    The state of one file.

    :ivar digest: hash of the content that was read last.
    :ivar backends: backends in its last good content.
    :ivar skipped: problems of single entries in its last good content.
    :ivar problem: why its current content cannot be used, empty when it can.
    """

    digest: bytes = b""
    backends: tuple[Backend, ...] = ()
    skipped: tuple[str, ...] = ()
    problem: str = ""


@implementer(ILocator)
class FileSDLocator:
    """
    A locator of the backends listed in files, which are read at every look-up.

    When a file that a pattern with wildcards matched is deleted, its backends are removed, as in Prometheus. When a file that was
    given without wildcards is deleted, the look-up fails, and the file's backends are kept. An invalid entry is logged when it
    appears or changes, not at every look-up.

    :param patterns: paths, whose last element may have the wildcards ``*``, ``?`` and ``[...]``; these match no hidden file, such
        as a temporary file that is renamed later. Relative paths are resolved when the locator is built, against the current
        directory. A pattern that occurs twice counts once; the files of a pattern are sorted by name.
    :raises ConfigError: a pattern does not end in ``.json``, ``.yml`` or ``.yaml``, or has wildcards before the last element.
    """

    def __init__(self, patterns: Sequence[str], name: str = "file-sd") -> None:
        for pattern in patterns:
            if _NAME.fullmatch(pattern) is None or _WILDCARD.search(os.path.dirname(pattern)):
                expected = "a path that ends in .json, .yml or .yaml, with wildcards in its last element only"
                raise ConfigError("--file-sd", f"{pattern!r}: expected {expected}")
        self.name = name
        # twistd may change the current directory before the first look-up.
        self._patterns = tuple(dict.fromkeys(map(os.path.abspath, patterns)))
        self.sought, self.explicit = f"targets in {', '.join(self._patterns)}", True
        self._files: dict[str, _File] = {}

    def __repr__(self) -> str:
        return f"<FileSDLocator {' '.join(self._patterns)}>"

    def locate(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
        """
        Read the files, and return their backends.

        :return Deferred(tuple): has fired already. Fails with `PartlyDiscovered` when a folder or a file cannot be read, or a
            file is too large or empty, is not UTF-8, JSON or YAML, is no list of target groups, or has only invalid entries.
        """
        paths, problems = self._paths()
        known, self._files = self._files, {path: self._look_at(path) for path in paths}
        for path, file in self._files.items():
            _log_problems(path, file.skipped, known.get(path, _File()).skipped)
        problems += [f"{path}: {file.problem}" for path, file in self._files.items() if file.problem]
        sources: dict[Backend, dict[str, None]] = {}
        for path, file in self._files.items():
            for backend in file.backends:
                sources.setdefault(backend, {}).update(paths[path])
        located = tuple(DiscoveredBackend(backend, sources=tuple(patterns)) for backend, patterns in sources.items())
        if problems:
            return fail(PartlyDiscovered(_joined(problems), located))
        return succeed(located)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong with the files now, one line each, with the file's name; nothing is logged."""
        paths, problems = self._paths()
        yield from problems
        for path in paths:
            file = self._look_at(path)
            yield from (f"{path}: {problem}" for problem in (file.problem, *file.skipped) if problem)

    def start(self, changed: Callable[[], None]) -> None:
        """Do nothing, because the files are read at every look-up."""

    def stop(self) -> None:
        """Do nothing, because there is nothing to stop."""

    def _paths(self) -> tuple[dict[str, dict[str, None]], list[str]]:
        """Return the files to read, each with the patterns that it matches, and the problems of the patterns."""
        paths: dict[str, dict[str, None]] = {}
        problems = []
        for pattern in self._patterns:
            try:
                found = _matching(pattern)
            except OSError as error:
                # The folder is missing: its files keep their last backends.
                found = [path for path in self._files if _matches(path, pattern)]
                problems.append(f"{os.path.dirname(pattern)}: {error.strerror or error}")
            for path in found:
                paths.setdefault(path, {})[pattern] = None
        if len(paths) > MAX_FILES:
            problems.append(f"more than {MAX_FILES} files; the others are not read")
        return dict(itertools.islice(paths.items(), MAX_FILES)), problems

    def _look_at(self, path: str) -> _File:
        """Return the new state of a file."""
        known = self._files.get(path, _File())
        try:
            data = _read(path)
        except ValueError as error:
            # Without a digest, so that the same content counts again when it comes back.
            return evolve(known, digest=b"", problem=str(error))
        digest = hashlib.sha256(data).digest()
        if digest == known.digest:
            return known
        try:
            parsed = _parse(path, data)
        except ValueError as error:
            return evolve(known, digest=digest, problem=str(error))
        return _File(digest, parsed.backends, parsed.problems)


def _matching(pattern: str) -> list[str]:
    """
    Return the paths that match a pattern, sorted by name.

    :raises OSError: there are wildcards, and the folder cannot be listed.
    """
    folder, name = os.path.split(pattern)
    if not _WILDCARD.search(name):
        return [pattern]
    with os.scandir(folder or ".") as entries:
        return sorted(path for entry in entries if _matches(path := os.path.join(folder, entry.name), pattern))


def _matches(path: str, pattern: str) -> bool:
    folder, name = os.path.split(path)
    wanted_folder, wanted = os.path.split(pattern)
    hidden = name.startswith(".") and not wanted.startswith(".")
    return folder == wanted_folder and not hidden and fnmatchcase(name, wanted)


def _read(path: str) -> bytes:
    """
    Return the content of a file.

    :raises ValueError: it cannot be read, is too large, empty, or not a file.
    """
    data = read_small(path, MAX_BYTES, "a file of target groups")
    if not data:
        # It is being written.
        raise ValueError("empty; a list without targets is []")
    return data


def _parse(path: str, data: bytes) -> ParsedBackends:
    """
    Parse the content of a file.

    :raises ValueError: it is no list of target groups.
    """
    parse = parse_json if path.lower().endswith(".json") else parse_yaml
    return read_groups(parse(decoded(data)))


def _log_problems(path: str, problems: Iterable[str], known: Iterable[str]) -> None:
    for problem in problems:
        if problem not in known:
            _log.warn("target group entry of {path} skipped: {problem}", path=path, problem=problem)


def _joined(problems: list[str]) -> str:
    more = len(problems) - _MAX_SHOWN
    return "; ".join(problems[:_MAX_SHOWN]) + (f"; and {more} more" if more > 0 else "")
