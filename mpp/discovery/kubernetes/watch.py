"""
The watch of a collection of a Kubernetes API server, which reports when the parsed content changes. Keeps no list: its listener
lists again (https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes).

# Note [Watching]

The watch starts from the collection's current version, which is listed first. Streams end: regularly (the server's
``timeoutSeconds``), by accident, or silently (half-open connections: not a byte for longer than ``timeoutSeconds``). The next one
continues from the last version seen, so nothing is missed. The server forgets versions after some minutes: 410 Gone, as a status
or as an event. After other error events, too, the version may be of no use: if etcd was restored from a backup, it lies in the
future, and a watch from it would be silent. Then the version is listed again, and since changes may have been missed, a change is
reported.

Bookmarks only carry a newer version; servers need not send them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from txaio.tx import make_logger

from mpp.core.errors import DiscoveryError
from mpp.discovery.kubernetes.client import APIQuery, KubeClient, RequestRejected
from mpp.discovery.kubernetes.collections import Collection, Collections, list_version
from mpp.discovery.kubernetes.objects import ParsedObjects
from mpp.discovery.kubernetes.stream import LineStream

_log = make_logger()

# Seconds of one stream, at random. Servers close watches after half an hour or more; proxies often after five minutes.
_WATCH_S = (240, 300)
# Seconds that the end of a watch may take from the server to mpp.
_GRACE_S = 30.0
# The head of the response comes at once, even if nothing has changed yet.
_HEAD_TIMEOUT_S = 10.0
# The first and the longest pause between attempts; it doubles in between. Look-ups every few seconds are the safety net.
_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
# Seconds after which a stream without events counts as working.
_WORKED_S = 5.0

_GONE = 410


class VersionExpired(DiscoveryError):
    """The server may not know the version of the collection from which a watch should continue."""


class ResourceWatch:
    """
    A watch of a collection, see Note [Watching].

    :param sources: chooses the collection to watch.
    :param port: the port that the operator wants, see `mpp.discovery.kubernetes.objects.choose_port`.
    :param rng: randomizes pauses and the lengths of streams: a hundred instances must not reconnect at the same time.
    """

    def __init__(self, client: KubeClient, sources: Collections, *, port: str, clock: IReactorTime, rng: random.Random) -> None:
        self._client = client
        self._sources = sources
        self._port = port
        self._clock = clock
        self._rng = rng
        self._changed: Callable[[], None] = _no_listener
        self._running: Deferred[None] | None = None
        self._collection: Collection | None = None
        self._version = ""
        self._seen: dict[str, ParsedObjects] = {}
        self._failures = 0
        self._problem = ""

    def start(self, changed: Callable[[], None]) -> None:
        """Start watching, see `ILocator.start`."""
        self.stop()
        self._changed, self._failures, self._problem = changed, 0, ""
        self._running = Deferred.fromCoroutine(self._for_ever())
        self._running.addErrback(lambda failure: failure.trap(CancelledError) and None)

    def stop(self) -> None:
        """Stop watching the collection: close the stream, or cancel the pause before the next one."""
        running, self._running = self._running, None
        self._changed, self._collection, self._version = _no_listener, None, ""
        if running is not None:
            running.cancel()

    async def _for_ever(self) -> None:
        while True:
            self._failures += 1
            try:
                await self._watch_once()
                self._problem = ""
            except VersionExpired:
                self._collection = None
            except DiscoveryError as error:
                if isinstance(error, RequestRejected):
                    self._collection = None
                self._log_problems(error)
            except CancelledError:
                raise
            except Exception:
                # The outermost handler: a bug must not end the watch.
                self._collection = None
                _log.failure("bug: the watch of Kubernetes failed unexpectedly; it starts again after a pause")
            await deferLater(self._clock, pause(self._failures, self._rng))

    def _log_problems(self, error: DiscoveryError) -> None:
        """Log a rejected watch, once. If the server does not respond, the look-ups report it."""
        if isinstance(error, RequestRejected) and str(error) != self._problem:
            _log.warn("cannot watch Kubernetes, so changes take effect at the next look-up: {problem}", problem=str(error))
        self._problem = str(error)

    async def _watch_once(self) -> None:
        """Watch the collection until the stream ends."""
        if self._collection is None:
            self._collection, self._version = await self._sources.first(list_version)
            self._seen = {}
            self._changed()
        seconds = self._rng.randint(*_WATCH_S)
        query = watching(self._collection.query, self._version, seconds)
        opened = Deferred.fromCoroutine(self._client.open(query))
        try:
            response = await opened.addTimeout(_HEAD_TIMEOUT_S, self._clock)
        except TimeoutError:
            raise DiscoveryError(f"no response to a watch within {_HEAD_TIMEOUT_S:g} s") from None
        except RequestRejected as error:
            raise VersionExpired(str(error)) if error.status == _GONE else error from None
        lines = LineStream(self._line, self._clock, seconds + _GRACE_S)
        response.deliverBody(lines)
        began = self._clock.seconds()
        await lines.ended
        if self._clock.seconds() - began >= _WORKED_S:
            self._failures = 0

    def _line(self, line: bytes) -> None:
        kind, item = read_event(line)
        self._failures = 0
        self._version = item.get("metadata", {}).get("resourceVersion") or self._version
        if kind != "BOOKMARK" and self._is_news(kind, item):
            self._changed()

    def _is_news(self, kind: str, item: Mapping[str, Any]) -> bool:
        """Return whether the parsed content of an object changed, as far as the previous one is known."""
        if self._collection is None:
            return False
        key = str(item.get("metadata", {}).get("name"))
        before = self._seen.pop(key, ParsedObjects() if kind == "ADDED" else None)
        if kind == "DELETED":
            return before != ParsedObjects()
        self._seen[key] = self._collection.read(item, self._port)
        return before != self._seen[key]


def watching(query: APIQuery, version: str, seconds: int) -> APIQuery:
    """Return the query that watches a collection instead of listing it."""
    watch = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": str(seconds)}
    return evolve(query, parameters={**query.parameters, **watch})


def pause(failures: int, rng: random.Random) -> float:
    """Return the seconds to wait before the next attempt: exponential backoff with a maximum, with jitter."""
    return min(_LONGEST_PAUSE_S, _PAUSE_S * 2.0 ** min(failures, 16)) * rng.uniform(0.5, 1.0)


def read_event(line: bytes) -> tuple[str, dict[str, Any]]:
    """
    Parse one event of a watch. Pure.

    :return: the type of the event, and its object.
    :raise VersionExpired: the event reports an error, see Note [Watching].
    :raise DiscoveryError: the line is no event.
    """
    try:
        event = json.loads(line)
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            code = item.get("code")
            raise VersionExpired(
                f"the server ended a watch with code {code if type(code) is int and 0 <= code < 1000 else 'unknown'}"
            )
        if not isinstance(item["metadata"], dict):
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise DiscoveryError("a line of a watch is no event") from None
    return kind, item


def _no_listener() -> None:
    """Ignore a change, because no listener is set."""
