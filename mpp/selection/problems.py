"""A converter of current problems into events for the event log: one when a problem begins or changes, one when it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Problems:
    """
    The last known problems of named things, such as locators.

    :param note: called with the kind and the text of each event, see `mpp.selection.recent.Event`.
    :param kind: the kind of these events; the end of a problem is an event of the kind ``return``.
    """

    def __init__(self, note: Callable[[str, str], None], kind: str) -> None:
        self._note = note
        self._kind = kind
        self._seen: Mapping[str, str] = {}

    def look(self, problems: Mapping[str, str]) -> None:
        """
        Compare the current problems with the previous ones, and record an event for each change.

        :param problems: the problem of each thing by name, empty if it has none. A name that is missing was removed, for which no
            event is recorded.
        """
        before, self._seen = self._seen, dict(problems)
        for name, problem in problems.items():
            if problem and problem != before.get(name):
                self._note(self._kind, f"{name}: {problem}")
            elif before.get(name) and not problem:
                self._note("return", f"{name} works again")
