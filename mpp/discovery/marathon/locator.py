"""
The locator of backends that run as tasks of Marathon apps. It sends requests to the masters; `mpp.discovery.marathon.tasks`
interprets the responses, `mpp.discovery.marathon.login` provides the credentials.

Not supported: Marathon's event stream (each round's look-up is soon enough), several ports of one task, https tasks.
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
from mpp.core.urls import take_credentials
from mpp.discovery.http_api.json_api import APIResponse, JSONClient
from mpp.discovery.http_api.look_ups import PendingLookups
from mpp.discovery.marathon.login import Login, read_credentials_file, secret_reader
from mpp.discovery.marathon.settings import MarathonSettings
from mpp.discovery.marathon.settings_check import check
from mpp.discovery.marathon.tasks import ParsedTasks, read_tasks
from mpp.wire.tls import TLSPolicy

_log = make_logger()

# Part of the minute that a look-up may take, so that another master is asked when one of three does not respond.
MASTER_TIMEOUT_S = 20.0

# Note [Missing apps]
#
# Marathon responds with 404 for an app that does not exist. The other apps must still be updated, so the look-up fails with a
# PartlyDiscovered: the other apps are listed as they are now, and the missing one is reported for as long as it is missing.
# Its last known servers, if it existed before, are listed as not ready: if the app was deleted by mistake, or is hidden from
# mpp's user, no working server disappears; if it was removed for good, they are shown as down until mpp is restarted.
#
# Every other failure, of any app, fails the whole look-up: the last good list is better than half a list.


def build(settings: MarathonSettings, reactor: Any, *, insecure: bool) -> MarathonLocator:
    """
    Return the locator for the configured apps.

    :param insecure: do not verify the certificates of the masters.
    :raise ConfigError: see `mpp.discovery.marathon.settings_check.check`.
    """
    check(settings)
    api = JSONClient.connecting(reactor, TLSPolicy(insecure=insecure))
    return MarathonLocator(settings, api, wall=time.time)


@frozen
class _Master:
    """
    One of the servers of Marathon's API.

    :ivar base: its URL, without credentials and trailing slash.
    :ivar authorization: the header value from the credentials in the URL, or empty.
    """

    base: str
    authorization: str = field(default="", repr=False)

    @classmethod
    def at(cls, url: str) -> _Master:
        base, authorization = take_credentials(url)
        return cls(base.rstrip("/"), authorization)


@frozen
class _Missing:
    """The result for an app that does not exist, with Marathon's message."""

    words: str


class _NoCredentials(DiscoveryError):
    """There are no credentials for any master: their file cannot be read, or the login failed."""


@implementer(ILocator)
class MarathonLocator:
    """
    A locator of the running tasks of the configured apps; a task whose health check fails is listed as not ready.

    :param api: sends the requests; closed by `stop`.
    :param wall: returns the time in seconds since the epoch, by which login tokens expire.
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
        Request all apps from the master that listed them last; if it does not list them now, from the others in turn.

        :return Deferred(tuple): the apps' tasks, in the order of the apps. Fails with `DiscoveryError` when no master lists them
            or there are no credentials, and with `PartlyDiscovered` when an app does not exist, see Note [Missing apps].
            Cancelling it aborts the request; the next look-up begins with the next master.
        """
        return self._running.add(Deferred.fromCoroutine(self._locate()))

    def start(self, changed: Callable[[], None]) -> None:
        """Do nothing, because Marathon is requested at every look-up."""

    def stop(self) -> None:
        """Cancel the look-ups in progress, and close all connections."""
        self._running.cancel()
        self._api.close().addErrback(
            lambda failure: _log.failure("closing the connections to Marathon failed, some may stay open", failure)
        )

    async def _locate(self) -> tuple[DiscoveredBackend, ...]:
        count = len(self._masters)
        problems = []
        for number in ((self._first + step) % count for step in range(count)):
            try:
                found = await self._ask(self._masters[number])
            except CancelledError:
                self._first = (number + 1) % count
                raise
            except _NoCredentials:
                raise
            except DiscoveryError as error:
                problems.append(str(error))
            else:
                self._first = number
                return self._conclude(found)
        raise DiscoveryError("; ".join(problems))

    async def _ask(self, master: _Master) -> dict[str, ParsedTasks | _Missing]:
        return {app: await self._ask_for_app(master, app) for app in self._apps}

    async def _ask_for_app(self, master: _Master, app: str) -> ParsedTasks | _Missing:
        # Without the leading slash: proxies may merge two slashes, and Marathon accepts both forms.
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
        """Return the response to a GET; if the token was rejected, repeat the request once with a new one."""
        authorization = await self._authorization(master)
        answer = await self._request(url, authorization)
        if answer.status == 401 and self._login is not None:
            self._login.reject(authorization)
            answer = await self._request(url, await self._authorization(master))
        return answer

    async def _request(self, url: str, authorization: str) -> APIResponse:
        # The list of tasks has two media types, JSON and text (RAML of the API, /v2/apps/{id}/tasks).
        headers = {"Accept": "application/json"}
        if authorization:
            headers["Authorization"] = authorization
        return await self._api.request("GET", url, headers=headers, timeout=MASTER_TIMEOUT_S)

    async def _authorization(self, master: _Master) -> str:
        try:
            if self._login is not None:
                return await self._login.authorization()
            if self._credentials_file:
                return read_credentials_file(self._credentials_file)
        except DiscoveryError as error:
            # They are the same for all masters: a rejected login is not repeated for each.
            raise _NoCredentials(str(error)) from error
        return master.authorization

    def _conclude(self, found: Mapping[str, ParsedTasks | _Missing]) -> tuple[DiscoveredBackend, ...]:
        located: dict[Backend, DiscoveredBackend] = {}
        missing, problems = [], []
        for app, each in found.items():
            if isinstance(each, _Missing):
                missing.append(f"--marathon-apps: {app}: {each.words}")
                gone = f"Marathon: app {app} no longer exists"
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
                _log.warn("task of Marathon skipped: {problem}", problem=problem)
        self._known_problems = frozenset(problems)


def _accepted(answer: APIResponse, app: str) -> Any:
    """
    Return the parsed response about an app.

    :raise DiscoveryError: the request was rejected, or the master has an internal problem (no leader, no response from it).
    """
    if answer.status >= 500:
        raise answer.rejected()
    if answer.status == 401:
        raise answer.rejected(f"{answer.url}: mpp's credentials are missing or wrong (--marathon-principal-secret or HTTP basic)")
    if answer.status == 404:
        raise answer.rejected(f"--marathon-url: {answer.url}: no Marathon responds there")
    if answer.status != 200:
        raise answer.rejected(f"--marathon-apps: {app}: {answer.url}")
    return answer.json()


def _member(value: Any, name: str, kind: type, answer: APIResponse) -> Any:
    member = value.get(name) if isinstance(value, dict) else None
    if not isinstance(member, kind):
        raise DiscoveryError(f"{answer.url}: not a response of Marathon, it has no {name!r}")
    return member


def _not_ready(parsed: ParsedTasks, backend: Backend) -> str:
    return "Marathon's health check of its task fails" if backend in parsed.unhealthy else ""
