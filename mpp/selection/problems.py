"""Turns problems that come and go into events for the status page: one when a problem begins or changes, one when it is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Problems:
    """
    What is wrong with some named things, as it was last seen.

    :param note: called with the kind and the text of each event, see `mpp.selection.recent.Event`.
    :param kind: the kind of the events; those of a problem that is over are of the kind ``return``.
    """

    def __init__(self, note: Callable[[str, str], None], kind: str) -> None:
        self._note = note
        self._kind = kind
        self._seen: Mapping[str, str] = {}

    def look(self, problems: Mapping[str, str]) -> None:
        """
        Compare with what was seen last.

        :param problems: by the name of each thing what is wrong with it, empty if nothing is. Things that are missing are gone,
            which is no event.
        """
        before, self._seen = self._seen, dict(problems)
        for name, problem in problems.items():
            if problem and problem != before.get(name):
                self._note(self._kind, f"{name}: {problem}")
            elif before.get(name) and not problem:
                self._note("return", f"{name} works again")
