"""Messages about servers that start or cease to lack newest data, for the log and the event log."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from txaio.tx import make_logger

from mpp.core.facts import Lack
from mpp.core.model import Backend

_log = make_logger()


class LackLog:
    """
    The writer of log messages about data that servers lack.

    :param note: called with the kind and the text of each event for the event log.
    """

    def __init__(self, note: Callable[[str, str], None]) -> None:
        self._note_down = note

    def report(self, before: Mapping[Backend, Lack], found: Mapping[Backend, Lack], compared: Collection[Backend] = ()) -> None:
        """
        Log which servers start or cease to lack something, and which no longer scrape anything.

        :param compared: the servers whose data is known and was compared with another server's.
        """
        for backend, lack in found.items():
            known = before.get(backend)
            if known is None or (known.back and not lack.back) or (lack.stopped and not known.stopped and not lack.back):
                text = f"{backend.name} {lack}; queries for newest data go to the others"
                _log.warn("{text}", text=text, backend=backend.name, missing=lack.missing)
                self._note_down("lack", f"{backend.name} {lack}")
        for backend in before:
            if backend not in found and not before[backend].back:
                caught_up = "has caught up: it has the newest data that the other servers have"
                unknown = "is not compared with another server at the moment, so queries for newest data may go to it"
                text = f"{backend.name} {caught_up if backend in compared else unknown}"
                _log.info("{text}", text=text, backend=backend.name)
                self._note_down("lack", text)
