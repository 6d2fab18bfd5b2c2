"""
Matches regular expressions in a time proportional to the text, whatever the expression. Pure.

Python's `re` backtracks: with ``(a+)+`` it needs years for a text of 50 characters that does not match, and the client chooses
the text. This module follows all alternatives at the same time, one character of the text after the other, as Go's ``regexp``
does (Thompson 1968; https://swtch.com/~rsc/regexp/regexp1.html).

The syntax is the part of Go's (RE2) that names, addresses and URLs need. Everything else is an error, not a literal:

- characters, ``.``, classes such as ``[a-z0-9-]`` and ``[^/]``, ``\\d \\w \\s`` and their opposites, punctuation behind ``\\``
- ``|``, ``( )``, ``(?: )``, ``^`` and ``$``, ``(?i)`` at the beginning for any case
- ``* + ? {3} {3,} {3,5}``; a further ``?`` for as few as possible makes no difference to whether the whole text matches
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

MOST = 1000
"""
Maximum states of an expression: one for each character that it can match, and one for each repetition. A text of 256 characters
takes a tenth of a second at most.
"""
DEEPEST = 50
"""Maximum depth of groups within groups."""

_IGNORE_CASE = "(?i)"
_TOKEN = re.compile(
    r"(?P<class>\[\^?(?:\\[\\\]\[^.dwsDWS/-]|[^\]\[\\])+\])"
    r"|(?P<escape>\\[dwsDWS!-/:-@\[-`{-~])"
    r"|(?P<repeat>(?:[*+?]|\{[0-9]{1,4}(?:,[0-9]{0,4})?\})\??)"
    r"|(?P<open>\((?:\?:)?(?!\?))"
    r"|(?P<other>[^\\\[(])",
    re.DOTALL,
)
_COUNTS = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class _State:
    """
    One state of the automaton of an expression.

    :ivar after: the states that may follow: behind one character if there is a ``test``, else at once.
    :ivar test: returns whether a character fits.
    :ivar at: ``^`` or ``$`` if the state can be passed only there, else empty.
    """

    __slots__ = ("after", "at", "test")

    def __init__(self, after: Iterable[_State] = (), test: Callable[[str], object] | None = None, at: str = "") -> None:
        self.after = list(after)
        self.test = test
        self.at = at


_Build = Callable[[_State], _State]
"""Builds the states of a part of the expression: gets the state that follows the part, and returns the part's first state."""


class LinearPattern:
    """
    A regular expression that is matched against whole texts.

    :raise ValueError: the expression is invalid or too large; the message is a short clause.
    """

    def __init__(self, pattern: str) -> None:
        self._end = _State()
        self._start = _Parser(pattern).build(self._end)

    def matches(self, text: str) -> bool:
        """Return whether the whole text matches."""
        last = len(text)
        current = _reached([self._start], first=True, last=not text)
        for number, character in enumerate(text, 1):
            fitting = [state for state in current if state.test is not None and state.test(character)]
            current = _reached([state.after[0] for state in fitting], first=False, last=number == last)
        return self._end in current


def _reached(states: Sequence[_State], *, first: bool, last: bool) -> set[_State]:
    """
    Return these states and all states that can be reached from them without a character.

    :param first: the position is the beginning of the text.
    :param last: the position is the end of the text.
    """
    reached, left = set(states), list(states)
    while left:
        state = left.pop()
        if state.test is None and (not state.at or (first if state.at == "^" else last)):
            found = [each for each in state.after if each not in reached]
            reached.update(found)
            left += found
    return reached


class _Parser:
    """A parser of one expression, from left to right."""

    def __init__(self, pattern: str) -> None:
        self._flags = re.ASCII | re.IGNORECASE if pattern.startswith(_IGNORE_CASE) else re.ASCII
        self._pattern = pattern.removeprefix(_IGNORE_CASE)
        self._at = self._depth = self._size = 0
        self.build = self._alternatives()
        if self._at < len(self._pattern):
            raise ValueError("it has a ) without a (")

    def _peek(self) -> tuple[str | None, str]:
        """Return the kind and the text of the next token; None and an empty text at the end."""
        if self._at == len(self._pattern):
            return None, ""
        found = _TOKEN.match(self._pattern, self._at)
        if found is None:
            raise ValueError(f"{self._pattern[self._at : self._at + 4]!r} is not understood here")
        return found.lastgroup, found[0]

    def _alternatives(self) -> _Build:
        ways = [self._sequence()]
        while self._peek()[1] == "|":
            self._at += 1
            ways.append(self._sequence())
        return ways[0] if len(ways) == 1 else lambda after: self._state([way(after) for way in ways])

    def _sequence(self) -> _Build:
        parts: list[_Build] = []
        while (token := self._peek())[0] is not None and token[1] not in ("|", ")"):
            part = self._part(*token)
            kind, text = self._peek()
            if kind == "repeat":
                self._at += len(text)
                part = self._repeated(part, text.removesuffix("?") if len(text) > 1 else text)
            parts.append(part)

        def build(after: _State) -> _State:
            for part in reversed(parts):
                after = part(after)
            return after

        return build

    def _part(self, kind: str | None, text: str) -> _Build:
        self._at += len(text)
        if kind == "open":
            return self._group()
        if kind == "repeat":
            raise ValueError(f"there is nothing to repeat before {text!r}")
        if text in ("^", "$"):
            return lambda after: self._state([after], at=text)
        plain = kind == "other" and text != "."
        try:
            test = re.compile(re.escape(text) if plain else text, self._flags).fullmatch
        except re.error as error:
            raise ValueError(f"{text}: {error.msg}") from None
        return lambda after: self._state([after], test)

    def _group(self) -> _Build:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ValueError(f"it has more than {DEEPEST} nested groups")
        build = self._alternatives()
        if self._peek()[1] != ")":
            raise ValueError("it has a ( without a )")
        self._at += 1
        self._depth -= 1
        return build

    def _repeated(self, part: _Build, text: str) -> _Build:
        least, most = _COUNTS[text] if text in _COUNTS else _counts(text)

        def build(after: _State) -> _State:
            if most is None:
                loop = self._state([])
                loop.after = [part(loop), after]
                after = loop
            else:
                end = after
                for _ in range(most - least):
                    after = self._state([part(after), end])
            for _ in range(least):
                after = self._state([part(after)])
            return after

        return build

    def _state(self, after: list[_State], test: Callable[[str], object] | None = None, at: str = "") -> _State:
        self._size += 1
        if self._size > MOST:
            raise ValueError(f"it is too large: it has more than {MOST} states")
        return _State(after, test, at)


def _counts(text: str) -> tuple[int, int | None]:
    """Parse a count of repetitions: ``{3}``, ``{3,}`` or ``{3,5}``."""
    least, comma, most = text[1:-1].partition(",")
    counts = int(least), (int(most) if most else None) if comma else int(least)
    if counts[1] is not None and counts[1] < counts[0]:
        raise ValueError(f"{text} has its numbers in the wrong order")
    return counts
