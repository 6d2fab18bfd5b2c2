"""The locator of backends that the configuration lists (``--endpoint``). `mpp.core.backend_url` parses endpoints."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from mpp.core.backend_url import parse_endpoint
from mpp.core.errors import ConfigError
from mpp.core.interfaces import ILocator
from mpp.core.model import Backend, DiscoveredBackend
from mpp.discovery.target_groups import without_secrets

_SEVERAL = "several endpoints in one value; expected --endpoint once for each, a list [a, b] in a file, or blanks in a variable"


@implementer(ILocator)
class StaticLocator:
    """
    A locator of a fixed list of backends.

    :param texts: the endpoints, see `parse_endpoint`; duplicates count once.
    :raises ConfigError: a text is no endpoint. It is not skipped like a line of an endpoints file, which mpp reads again.
    """

    def __init__(self, texts: Sequence[str], name: str = "endpoint") -> None:
        self.name = name
        self.sought, self.explicit = "the backends of the command line", False
        self._discovered = tuple(map(DiscoveredBackend, dict.fromkeys(map(_parse, texts))))

    def __repr__(self) -> str:
        return f"<StaticLocator {' '.join(located.backend.url for located in self._discovered)}>"

    def locate(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
        """
        Return the fixed list of backends.

        :return Deferred(tuple): has fired already; never fails.
        """
        return succeed(self._discovered)

    def start(self, changed: Callable[[], None]) -> None:
        """Do nothing, because there is nothing to watch."""

    def stop(self) -> None:
        """Do nothing, because there is nothing to stop."""


def _parse(text: str) -> Backend:
    try:
        return parse_endpoint(text)
    except ValueError as error:
        problem = _SEVERAL if _are_endpoints(re.split(r"\s*,\s*|\s+", text.strip())) else error
        raise ConfigError("--endpoint", f"{without_secrets(text)!r}: {problem}") from None


def _are_endpoints(texts: Sequence[str]) -> bool:
    try:
        return all(map(parse_endpoint, texts))
    except ValueError:
        return False
