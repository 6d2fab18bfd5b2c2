"""
The locator of Prometheus' HTTP service discovery: a URL that returns target groups. Knows the HTTP contract;
`mpp.discovery.target_groups` parses the groups.

The contract (https://prometheus.io/docs/prometheus/latest/http_sd/): the response to a GET has status 200, Content-Type
``application/json`` and the whole list, ``[]`` if it is empty; anything else is an error, and the last list is kept.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from attrs import field, frozen
from twisted.internet.defer import Deferred
from txaio.tx import make_logger
from zope.interface import implementer

from mpp.core.errors import DiscoveryError
from mpp.core.interfaces import ILocator
from mpp.core.model import MIB, DiscoveredBackend
from mpp.core.secret_file import SecretFile
from mpp.core.text.values import parse_url
from mpp.core.urls import shown, take_credentials
from mpp.discovery.http_api.json_api import APIResponse, JSONClient
from mpp.discovery.http_api.look_ups import PendingLookups
from mpp.discovery.target_groups import decoded, parse_json, read_groups

_log = make_logger()

# Room for more than the maximum number of targets of a list.
MAX_BYTES = 1 * MIB
# The charset is the only parameter that Prometheus allows.
_CONTENT_TYPE = re.compile(r'\s*application/json\s*(;\s*charset=("utf-8"|utf-8)\s*)?', re.IGNORECASE)


def url_reader(text: str) -> Callable[[], str]:
    """
    Return a function that returns the URL of the list.

    The function fails with `DiscoveryError` when the file cannot be read or holds no URL.

    :param text: the URL itself, or ``@`` and the path of a file from which the function reads the URL at each call. A relative
        path is resolved at once, because twistd may change the current directory before the file is read.
    """
    if not text.startswith("@"):
        return lambda: text
    file = SecretFile(os.path.abspath(text[1:]))

    def read() -> str:
        try:
            return parse_url(file.read())
        except ValueError:
            # The error's message could show a part of a secret.
            raise DiscoveryError(f"{file.path}: expected one URL such as http://user:password@host:8080/path") from None

    return read


@frozen
class _Request:
    """
    The request of one look-up.

    :ivar url: the URL without user and password.
    :ivar shown: the same for messages, without query.
    :ivar authorization: the header value from user and password; empty without them.
    :ivar hide: texts that no message may contain.
    """

    url: str = field(repr=False)
    shown: str
    authorization: str = field(repr=False)
    hide: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, url: str) -> _Request:
        bare, authorization = take_credentials(url)
        return cls(bare, shown(url), authorization, tuple(filter(None, [unquote(urlsplit(url).password or "")])))


@implementer(ILocator)
class HTTPSDLocator:
    """
    A locator of the backends that a URL lists, which is requested at every look-up.

    An invalid entry is logged when it appears or changes, not at every look-up.

    :param read_url: returns the URL (http or https) before each look-up; user and password in it are sent as HTTP basic. May
        fail with `DiscoveryError`.
    :param api: sends the requests; closed by `stop`.
    :param interval: returns the seconds between look-ups, which are sent to the server as information.
    """

    def __init__(
        self, read_url: Callable[[], str], api: JSONClient, name: str = "http-sd", *, interval: Callable[[], float]
    ) -> None:
        self.name = name
        self._read_url = read_url
        self._shown = shown(read_url())
        self.sought, self.explicit = f"targets at {self._shown}", True
        self._api = api
        self._interval = interval
        self._known_problems: frozenset[str] = frozenset()
        self._looking = PendingLookups()

    def __repr__(self) -> str:
        return f"<HTTPSDLocator {self._shown}>"

    def locate(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
        """
        Request the list, and return its backends.

        :return Deferred(tuple): fires with the listed backends. Fails with `DiscoveryError` when the server does not respond, or
            when the response has another status than 200, is not ``application/json``, is too large, is no list of target groups,
            or has only invalid entries.
        """
        return self._looking.add(Deferred.fromCoroutine(self._locate()))

    def start(self, changed: Callable[[], None]) -> None:
        """Do nothing, because a URL cannot be watched."""

    def stop(self) -> None:
        """Cancel the look-ups in progress, and close all connections."""
        self._looking.cancel()
        self._api.close().addErrback(
            lambda failure: _log.failure("closing the connections to {url} failed, some may stay open", failure, url=self._shown)
        )

    async def _locate(self) -> tuple[DiscoveredBackend, ...]:
        request = _Request.of(self._read_url())
        self._shown = request.shown
        headers = {"Accept": "application/json", "X-Prometheus-Refresh-Interval-Seconds": f"{self._interval():g}"}
        if request.authorization:
            headers["Authorization"] = request.authorization
        response = await self._api.request("GET", request.url, headers=headers, hide=request.hide)
        self._check(response)
        try:
            groups = parse_json(decoded(response.body))
            # For Prometheus, null is a list without entries (Go's encoding/json); programs in Go write an empty list like this.
            parsed = read_groups([] if groups is None else groups)
        except ValueError as error:
            raise DiscoveryError(f"{self._shown}: {error}") from None
        self._log_problems(parsed.problems)
        return tuple(map(DiscoveredBackend, parsed.backends))

    def _check(self, response: APIResponse) -> None:
        """Raise DiscoveryError if a response does not conform to the contract."""
        if response.status != 200:
            raise response.rejected()
        content_type = response.headers.get("content-type", "")
        if not _CONTENT_TYPE.fullmatch(content_type):
            raise DiscoveryError(f"{self._shown}: expected Content-Type application/json, not {content_type[:100]!r}")
        if len(response.body) > MAX_BYTES:
            raise DiscoveryError(f"{self._shown}: the response is larger than {MAX_BYTES // MIB} MiB")

    def _log_problems(self, problems: tuple[str, ...]) -> None:
        for problem in problems:
            if problem not in self._known_problems:
                _log.warn("target group entry of {url} skipped: {problem}", url=self._shown, problem=problem)
        self._known_problems = frozenset(problems)
