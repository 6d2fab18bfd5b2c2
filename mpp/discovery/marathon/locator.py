"""
Backends that run as tasks of Marathon apps. Asks the masters; what an answer means is `mpp.discovery.marathon.tasks`, who
we are to them is `mpp.discovery.marathon.login`.

Not supported: Marathon's event stream (the look-up of each round is soon enough), several ports of one task, https tasks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred
from txaio.tx import make_logger
from zope.interface import implementer

from mpp.core.errors import DiscoveryError, PartlyDiscovered
from mpp.core.interfaces import ILocator
from mpp.core.model import Backend, DiscoveredBackend
from mpp.core.settings import MarathonSettings, Settings
from mpp.core.urls import take_credentials
from mpp.discovery.http_api.json_api import APIResponse, JSONClient, NoResponse
from mpp.discovery.http_api.look_ups import PendingLookups
from mpp.discovery.marathon.login import Login, read_credentials_file, secret_reader
from mpp.discovery.marathon.settings_check import check
from mpp.discovery.marathon.tasks import ParsedTasks, read_tasks
from mpp.wire.tls import TLSPolicy

_log = make_logger()

# Of the minute that a look-up may take: so that another master is asked when one of three does not answer.
MASTER_TIMEOUT_S = 20.0

# Note [Missing apps]
#
# Marathon answers 404 for an app that does not exist. That must not keep the other apps from being followed, so the look-up
# fails with a PartlyDiscovered: the others stand as they are now, and the missing one is told for as long as it is missing.
# Its last known servers, if it was there before, are listed as not ready: if the app was deleted by mistake, or is hidden
# from us, nothing disappears that still works; if it is gone for good they are shown as down, until mpp starts anew.
#
# Every other failure, of any app, fails the whole look-up: the last good list is better than half a list.


def build(settings: Settings, reactor: Any) -> MarathonLocator:
    """
    Make the locator of what is configured.

    :raise ConfigError: see `mpp.discovery.marathon.settings_check.check`.
    """
    check(settings.marathon)
    api = JSONClient.connecting(reactor, TLSPolicy(insecure=settings.insecure))
    return MarathonLocator(settings.marathon, api, wall=time.time)


@frozen
class _Master:
    """
    One of the servers that answer for Marathon.

    :ivar base: its URL, without credentials and trailing slash.
    :ivar authorization: made of the credentials in the URL, or empty.
    """

    base: str
    authorization: str = field(default="", repr=False)

    @classmethod
    def at(cls, url: str) -> _Master:
        base, authorization = take_credentials(url)
        return cls(base.rstrip("/"), authorization)


@frozen
class _Missing:
    """An app does not exist, in Marathon's words."""

    words: str


@implementer(ILocator)
class MarathonLocator:
    """
    The running, not unhealthy tasks of some apps.

    :param api: asks; closed by `stop`.
    :param wall: gives the time since the epoch, for tokens.
    """

    def __init__(self, settings: MarathonSettings, api: JSONClient, *, wall: Callable[[], float], name: str = "marathon") -> None:
        self.name = name
        self._settings = settings
        self._api = api
        self._masters = tuple(map(_Master.at, settings.urls))
        self._apps = tuple(dict.fromkeys("/" + app.strip("/") for app in settings.apps))
        # twistd may change the current directory before the first look-up.
        self._credentials_file = os.path.abspath(settings.credentials_file) if settings.credentials_file else ""
        noun = "app" if len(self._apps) == 1 else "apps"
        self.sought, self.explicit = f"running tasks of the {noun} {', '.join(self._apps)}", False
        self._login: Login | None = None
        if settings.principal_secret:
            self._login = Login(api, secret_reader(settings.principal_secret), settings.auth_endpoint, wall)
        self._first = 0
        self._last: dict[str, tuple[Backend, ...]] = {}
        self._known_problems: frozenset[str] = frozenset()
        self._running = PendingLookups()

    def __repr__(self) -> str:
        return f"<MarathonLocator {', '.join(master.base for master in self._masters)}: {', '.join(self._apps)}>"

    def locate(self) -> Deferred[tuple[DiscoveredBackend, ...]]:
        """
        Ask the master that answered last, then the others, for all apps.

        :return Deferred(tuple): the apps' tasks, in the order of the apps. Fails with `DiscoveryError` when no master answers or
            it refuses, and with `PartlyDiscovered` when an app does not exist, see Note [Missing apps]. Cancelling it aborts the
            request; the next look-up begins with the next master.
        """
        return self._running.add(Deferred.fromCoroutine(self._locate()))

    def start(self, changed: Callable[[], None]) -> None:
        """Do nothing: Marathon is asked at every look-up."""

    def stop(self) -> None:
        """Give up the running look-ups, and close all connections."""
        self._running.cancel()
        self._api.close().addErrback(lambda failure: _log.failure("Closing connections to Marathon failed", failure))

    async def _locate(self) -> tuple[DiscoveredBackend, ...]:
        count = len(self._masters)
        problems = []
        for number in ((self._first + step) % count for step in range(count)):
            try:
                found = await self._ask(self._masters[number])
            except CancelledError:
                self._first = (number + 1) % count
                raise
            except NoResponse as error:
                problems.append(str(error))
            else:
                self._first = number
                return self._conclude(found)
        raise DiscoveryError("; ".join(problems))

    async def _ask(self, master: _Master) -> dict[str, ParsedTasks | _Missing]:
        return {app: await self._ask_for_app(master, app) for app in self._apps}

    async def _ask_for_app(self, master: _Master, app: str) -> ParsedTasks | _Missing:
        # The leading slash is left out: proxies in between join two of them, and Marathon takes both.
        url = f"{master.base}/v2/apps{quote(app)}"
        answer = await self._get(master, f"{url}?embed=app.tasks")
        if answer.status == 404 and answer.error_text():
            return _Missing(answer.error_text())
        described = _member(_accepted(answer, app), "app", dict, answer)
        if "tasks" not in described:
            tasks = _accepted(await self._get(master, f"{url}/tasks"), app)
            return read_tasks(described, _member(tasks, "tasks", list, answer), self._settings.port)
        return read_tasks(described, _member(described, "tasks", list, answer), self._settings.port)

    async def _get(self, master: _Master, url: str) -> APIResponse:
        """Get an answer; if the token was refused, once more with a new one."""
        authorization = await self._authorization(master)
        answer = await self._request(url, authorization)
        if answer.status == 401 and self._login is not None:
            self._login.reject(authorization)
            answer = await self._request(url, await self._login.authorization())
        return answer

    async def _request(self, url: str, authorization: str) -> APIResponse:
        # The list of tasks has two media types, JSON and text (RAML of the API, /v2/apps/{id}/tasks).
        headers = {"Accept": "application/json"}
        if authorization:
            headers["Authorization"] = authorization
        return await self._api.request("GET", url, headers=headers, timeout=MASTER_TIMEOUT_S)

    async def _authorization(self, master: _Master) -> str:
        if self._login is not None:
            return await self._login.authorization()
        if self._credentials_file:
            return read_credentials_file(self._credentials_file)
        return master.authorization

    def _conclude(self, found: Mapping[str, ParsedTasks | _Missing]) -> tuple[DiscoveredBackend, ...]:
        located: dict[Backend, DiscoveredBackend] = {}
        missing, problems = [], []
        for app, each in found.items():
            if isinstance(each, _Missing):
                missing.append(f"--marathon-apps: {app}: {each.words}")
                gone = f"Marathon: app {app} does not exist any more"
                located.update(
                    (backend, DiscoveredBackend(backend, gone)) for backend in self._last.get(app, ()) if backend not in located
                )
            else:
                self._last[app] = each.backends
                problems += [f"app {app}: {problem}" for problem in each.problems]
                located.update((backend, DiscoveredBackend(backend, _not_ready(each, backend))) for backend in each.backends)
        self._log_problems(problems)
        if missing:
            raise PartlyDiscovered("; ".join(missing), tuple(located.values()))
        return tuple(located.values())

    def _log_problems(self, problems: list[str]) -> None:
        """Log each problem when it appears, not at every look-up."""
        for problem in problems:
            if problem not in self._known_problems:
                _log.warn("Marathon {problem}; skipped", problem=problem)
        self._known_problems = frozenset(problems)


def _accepted(answer: APIResponse, app: str) -> Any:
    """
    Read what Marathon says of an app.

    :raise NoResponse: the master has a trouble of its own (no leader, no answer from it), another one may not.
    :raise DiscoveryError: it refuses.
    """
    if answer.status >= 500:
        raise NoResponse(str(answer.rejected()))
    if answer.status == 401:
        raise answer.rejected(f"{answer.url}: our credentials are missing or wrong (--marathon-principal-secret or HTTP basic)")
    if answer.status == 404:
        raise answer.rejected(f"--marathon-url: {answer.url}: no Marathon answers there")
    if answer.status != 200:
        raise answer.rejected(f"--marathon-apps: {app}: {answer.url}")
    return answer.json()


def _member(value: Any, name: str, kind: type, answer: APIResponse) -> Any:
    member = value.get(name) if isinstance(value, dict) else None
    if not isinstance(member, kind):
        raise DiscoveryError(f"{answer.url}: no answer of Marathon's, it has no {name!r}")
    return member


def _not_ready(parsed: ParsedTasks, backend: Backend) -> str:
    return "Marathon's health check of its task fails" if backend in parsed.unhealthy else ""
