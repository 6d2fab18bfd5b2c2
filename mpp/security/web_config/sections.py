"""
Typed access to the sections of a web configuration file, with errors that name the line and the key.

A key with nothing behind it (null) is an error: it is probably an unfinished edit, and is not taken for less protection.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from mpp.core.yaml.events import Table

# YAML 1.1, which is what the toolkit's parser reads.
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

_T = TypeVar("_T")


class WebConfigError(ValueError):
    """The error for an invalid web configuration; its text begins with the line, if known, and the key."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem if line is None else f"line {line}: {problem}")


class WebConfigSection:
    """
    A mapping in the file, with its position.

    :param where: the path of keys to the mapping, with a dot at its end; empty for the whole file.
    :param keys: the permitted keys, or None for any.
    :raise WebConfigError: the mapping has another key.
    """

    def __init__(self, where: str, table: Table, keys: tuple[str, ...] | None) -> None:
        self._where = where
        self._table = table
        for key in table:
            if keys is not None and key not in keys:
                raise self.wrong(key, f"no such key; {_hint(key, keys)}")

    @property
    def given(self) -> tuple[str, ...]:
        """The keys of this mapping."""
        return tuple(self._table)

    def line(self, key: str) -> int:
        """Return the line number of a key; 0 if the key is absent."""
        return self._table.lines.get(key, 0)

    def wrong(self, key: str, problem: str) -> WebConfigError:
        """Return an error that names a key and its line."""
        return WebConfigError(f"{self._where}{key[:60]}: {problem}", self._table.lines.get(key))

    def section(self, key: str, keys: tuple[str, ...] | None, expected: str = "keys and values") -> WebConfigSection:
        """Return the mapping at a key; an empty one if it is absent."""
        value = self._table.get(key, Table())
        if not isinstance(value, Table):
            raise self.wrong(key, f"expected {expected}, found {kind(value)}")
        return WebConfigSection(f"{self._where}{key}.", value, keys)

    def text(self, key: str, expected: str = "text") -> str:
        """Return the text at a key; empty if it is absent."""
        value = self._table.get(key, "")
        if not isinstance(value, str):
            raise self.wrong(key, f"expected {expected}, found {kind(value)}")
        return value

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Return the list of texts at a key, or None if it is absent."""
        if key not in self._table:
            return None
        value = self._table[key]
        if not isinstance(value, list):
            raise self.wrong(key, f"expected a list, found {kind(value)}")
        for each in value:
            if not isinstance(each, str):
                raise self.wrong(key, f"expected a list of texts, found {kind(each)} in it")
        return tuple(value)

    def truth(self, key: str, default: bool) -> bool:
        """Return the boolean at a key, or the default if it is absent."""
        text = self.text(key, "true or false")
        if text and text.lower() not in _BOOLEANS:
            raise self.wrong(key, f"expected true or false, found {text[:60]!r}")
        return _BOOLEANS[text.lower()] if text else default

    def of(self, key: str, parse: Callable[[str], _T], default: _T) -> _T:
        """Return the result of a parser for the text at a key, or the default if it is absent."""
        text = self.text(key)
        try:
            return parse(text) if text else default
        except ValueError as error:
            raise self.wrong(key, str(error)) from None


def kind(value: object) -> str:
    """Return the type of a YAML value as text, such as "a mapping"."""
    if value is None:
        return "nothing"
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else "text"


def choice(text: str, choices: Iterable[str], what: str) -> str:
    """
    Return a text unchanged if it is one of the permitted choices.

    :param what: the kind of the choices, for the error.
    :raise ValueError: it is not one of them.
    """
    if text not in (known := tuple(choices)):
        raise ValueError(f"{text[:60]!r} is no {what}; {_hint(text, known)}")
    return text


def _hint(wrong: str, known: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(wrong, known, n=1)
    return f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(known)}"
