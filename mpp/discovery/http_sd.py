"""
Prometheus' HTTP service discovery: a URL that gives target groups. Knows the contract; what is in the groups is
`mpp.discovery.target_groups`.

The contract (https://prometheus.io/docs/prometheus/latest/http_sd/): a GET is answered with status 200, Content-Type
``application/json`` and the whole list, ``[]`` if it is empty; anything else is an error, and the last list stays in force.
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
from mpp.discovery.target_groups import parse_json, read_groups

_log = make_logger()

# Room for more targets than are taken from one list.
MAX_BYTES = 1 * MIB
# The charset is all that Prometheus allows beside the type.
_CONTENT_TYPE = re.compile(r'\s*application/json\s*(;\s*charset=("utf-8"|utf-8)\s*)?', re.IGNORECASE)


def url_reader(text: str) -> Callable[[], str]:
    """
    Return what gives the URL: the text itself, or what stands in the file named behind an ``@`` at that moment.

    What is returned fails with `DiscoveryError` when the file cannot be read or holds no URL. A relative path is taken from the
    directory that is current now: twistd may change it before the file is read.
    """
    if not text.startswith("@"):
        return lambda: text
    file = SecretFile(os.path.abspath(text[1:]))

    def read() -> str:
        try:
            return parse_url(file.read())
        except ValueError:
            # The message would show a part of what may be a secret.
            raise DiscoveryError(f"{file.path}: expected one URL such as http://user:password@host:8080/path") from None

    return read


@frozen
class _Request:
    """
    What is asked for.

    :ivar url: without user and password.
    :ivar shown: the same for messages, without query.
    :ivar authorization: made of user and password; empty without.
    :ivar hide: texts that no message may repeat.
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
    Backends that a URL lists, asked at every look-up.

    An entry that makes no sense is logged when it appears or changes, not at every look-up.

    :param read_url: gives the URL (http or https) before each look-up; user and password in it are sent as HTTP basic. May fail
        with `DiscoveryError`.
    :param api: sends the requests; closed by `stop`.
    :param interval: seconds between look-ups, for the server's information.
    """

    def __init__(self, read_url: Callable[[], str], api: JSONClient, name: str = "http-sd", *, interval: float = 10.0) -> None:
        self.name = name
        self._read_url = read_url
        self._shown = shown(read_url())
        self.sought, self.explicit = f"targets at {self._shown}", True
        self._api = api
        self._headers = {"Accept": "application/json", "X-Prometheus-Refresh-Interval-Seconds": f"{interval:g}"}
        self._known_problems: frozenset[str] = frozenset()
        self._looking = PendingLookups()

    def __repr__(self) -> str:
        return f"<HTTPSDLocator {self._shown}>"

    def locate(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
        """
        Ask.

        :return Deferred(tuple): fires with what the answer lists. Fails with `DiscoveryError` when nobody answers, the answer
            breaks the contract, or it has entries of which none makes sense.
        """
        return self._looking.add(Deferred.fromCoroutine(self._locate()))

    def start(self, changed: Callable[[], None]) -> None:
        """Do nothing: a URL can only be asked."""

    def stop(self) -> None:
        """Give up the look-ups that are under way, and close all connections."""
        self._looking.cancel()
        self._api.close().addErrback(
            lambda failure: _log.failure("Closing connections to {url} failed", failure, url=self._shown)
        )

    async def _locate(self) -> tuple[DiscoveredBackend, ...]:
        asked = _Request.of(self._read_url())
        self._shown = asked.shown
        headers = {**self._headers, "Authorization": asked.authorization} if asked.authorization else self._headers
        answer = await self._api.request("GET", asked.url, headers=headers, hide=asked.hide)
        text = self._text(answer)
        try:
            groups = parse_json(text)
            # To Prometheus, null is a list without entries (Go's encoding/json); programs in Go write an empty list so.
            parsed = read_groups([] if groups is None else groups)
        except ValueError as error:
            raise DiscoveryError(f"{self._shown}: {error}") from None
        self._log_problems(parsed.problems)
        return tuple(map(DiscoveredBackend, parsed.backends))

    def _text(self, answer: APIResponse) -> str:
        """
        Give the text of an answer that keeps to the contract.

        :raises DiscoveryError: it does not.
        """
        if answer.status != 200:
            raise answer.rejected()
        content_type = answer.headers.get("content-type", "")
        if not _CONTENT_TYPE.fullmatch(content_type):
            raise DiscoveryError(f"{self._shown}: expected Content-Type application/json, not {content_type[:100]!r}")
        if len(answer.body) > MAX_BYTES:
            raise DiscoveryError(f"{self._shown}: the answer is larger than {MAX_BYTES // MIB} MiB")
        try:
            return answer.body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DiscoveryError(f"{self._shown}: not UTF-8 text (byte {error.start})") from None

    def _log_problems(self, problems: tuple[str, ...]) -> None:
        for problem in problems:
            if problem not in self._known_problems:
                _log.warn("{url}: {problem}; skipped", url=self._shown, problem=problem)
        self._known_problems = frozenset(problems)
