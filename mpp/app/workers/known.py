"""
Caches of the last Selection in the parent and in the workers, so that only changed backends are encoded and decoded.

# Note [Texts]

Decoding the whole Selection of a thousand servers would delay a worker's clients for 40 ms, several times a second while servers
are down. So the message contains one text per server, and a worker decodes only the texts that the last message did not contain.
The message is complete, so that a worker that starts needs no earlier one.

When many texts are new, they are sent before it in several messages, so that the worker serves its clients between them.
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
"""Returns the discovery sources that listed a backend, None when they are not known."""


AT_ONCE = 100
"""The number of new texts in one message; decoding them takes about 4 ms."""


class _SentBackend(NamedTuple):
    """The last text about one backend, with the data that it was encoded from."""

    observation: Observation
    addresses: tuple[str, ...]
    sources: Collection[DiscoverySource] | None
    text: str


class SentBackends:
    """
    The parent's cache of the text that it last sent to the workers about each backend.

    :ivar news: the texts about the backends that are new or have changed in the last Selection.
    """

    def __init__(self) -> None:
        self.news: list[str] = []
        self._last: dict[Backend, _SentBackend] = {}

    def write(self, selection: Selection, addresses: Addresses, origins: FoundBy) -> list[str]:
        """Return the text about each backend of a Selection, in the order of its observations."""
        last, self._last, self.news = self._last, {}, []
        for observation in selection.observations:
            backend = observation.backend
            sent, at, found = last.get(backend), addresses(backend), origins(backend)
            if sent is None or sent.observation is not observation or sent.addresses != at or sent.sources != found:
                text = message_out(BackendMessage(observation, at, None if found is None else tuple(found)))
                if sent is None or sent.text != text:
                    self.news.append(text)
                sent = _SentBackend(observation, at, found, text)
            self._last[backend] = sent
        return [sent.text for sent in self._last.values()]

    def ahead(self) -> list[list[str]]:
        """Return the new texts to send before the last Selection, in parts of `AT_ONCE`; empty if they are few."""
        if len(self.news) <= AT_ONCE:
            return []
        return [self.news[place : place + AT_ONCE] for place in range(0, len(self.news), AT_ONCE)]


class ReceivedBackends:
    """The worker's cache of the decoded texts of the last Selection."""

    def __init__(self) -> None:
        self._last: dict[str, BackendMessage] = {}
        self._ahead: dict[str, BackendMessage] = {}

    def learn(self, texts: list[str]) -> None:
        """Decode texts that the next Selection will contain."""
        self._ahead.update((text, message_in(text)) for text in texts)

    def read(self, texts: list[str]) -> list[BackendMessage]:
        """Return the data about each backend of a Selection; only new texts are decoded."""
        last, self._ahead = {**self._last, **self._ahead}, {}
        known = [last.get(text) or message_in(text) for text in texts]
        self._last = dict(zip(texts, known, strict=True))
        return known

    @property
    def addresses(self) -> dict[str, tuple[str, ...]]:
        """The IP addresses to try, by host."""
        return {each.observation.backend.host: each.addresses for each in self._last.values()}

    @property
    def origins(self) -> DiscoverySources:
        """The discovery sources of each backend for which they are known."""
        return {each.observation.backend: each.sources for each in self._last.values() if each.sources is not None}
