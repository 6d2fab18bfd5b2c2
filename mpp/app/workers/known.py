"""
What parent and workers keep of the last Selection, so that only what is news is encoded and decoded. Knows no line nor process.

# Note [Texts]

With a thousand servers, a Selection that is decoded as a whole holds up a worker's clients for 40 ms, several times a second
while servers are down. So what is known of each server is a text within the message. A text that was in the last Selection, too,
stands for the same as then. The message is whole all the same: a worker that starts needs no other one.

When many texts are news, they go ahead in messages of their own, so that the worker gets to its clients between them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from mpp.app.workers.codec import BackendMessage, message_in, message_out
from mpp.core.http_config import DiscoverySource, DiscoverySources
from mpp.core.model import Backend, Observation, Selection

Addresses = Callable[[Backend], tuple[str, ...]]
"""Returns the IP addresses of a backend."""
FoundBy = Callable[[Backend], Collection[DiscoverySource] | None]
"""Returns where a backend was found, None when that is not known."""


AT_ONCE = 100
"""So many texts are decoded in 4 ms."""


class _SentBackend(NamedTuple):
    """What was written of one backend, and of what."""

    observation: Observation
    addresses: tuple[str, ...]
    sources: Collection[DiscoverySource] | None
    text: str


class SentBackends:
    """
    What the parent has written last of each backend.

    :ivar news: the texts that were not among those before.
    """

    def __init__(self) -> None:
        self.news: list[str] = []
        self._last: dict[Backend, _SentBackend] = {}

    def write(self, selection: Selection, addresses: Addresses, origins: FoundBy) -> list[str]:
        """Return what is known of each backend of a Selection, in the order of its observations."""
        last, self._last, self.news = self._last, {}, []
        for observation in selection.observations:
            backend = observation.backend
            told, at, found = last.get(backend), addresses(backend), origins(backend)
            if told is None or told.observation is not observation or told.addresses != at or told.sources != found:
                text = message_out(BackendMessage(observation, at, None if found is None else tuple(found)))
                if told is None or told.text != text:
                    self.news.append(text)
                told = _SentBackend(observation, at, found, text)
            self._last[backend] = told
        return [told.text for told in self._last.values()]

    def ahead(self) -> list[list[str]]:
        """Return what is to be said before the Selection that was written last, in parts, see Note [Texts]."""
        if len(self.news) <= AT_ONCE:
            return []
        return [self.news[place : place + AT_ONCE] for place in range(0, len(self.news), AT_ONCE)]


class ReceivedBackends:
    """What a worker has read last."""

    def __init__(self) -> None:
        self._last: dict[str, BackendMessage] = {}
        self._ahead: dict[str, BackendMessage] = {}

    def learn(self, texts: list[str]) -> None:
        """Read what the next Selection will say of some of its backends."""
        self._ahead.update((text, message_in(text)) for text in texts)

    def read(self, texts: list[str]) -> list[BackendMessage]:
        """Return what is known of each backend of a Selection."""
        last, self._ahead = {**self._last, **self._ahead}, {}
        known = [last.get(text) or message_in(text) for text in texts]
        self._last = dict(zip(texts, known, strict=True))
        return known

    @property
    def addresses(self) -> dict[str, tuple[str, ...]]:
        """The IP addresses to try, by the host."""
        return {each.observation.backend.host: each.addresses for each in self._last.values()}

    @property
    def origins(self) -> DiscoverySources:
        """Where those backends were found of which it is known."""
        return {each.observation.backend: each.sources for each in self._last.values() if each.sources is not None}
