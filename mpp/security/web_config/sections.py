"""
The sections of a web configuration file: a mapping's values by the type they have to have, and errors with line and key.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import TypeVar

from mpp.core.text.yaml_events import Table

# YAML 1.1, which is what the toolkit's parser reads.
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

_T = TypeVar("_T")


class WebConfigError(ValueError):
    """The file is no web configuration; the text begins with the line, if one is to blame, and the key."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem if line is None else f"line {line}: {problem}")


class WebConfigSection:
    """
    A mapping of the file, and where it is.

    :param keys: those that it may have, or None for any.
    """

    def __init__(self, where: str, table: Table, keys: tuple[str, ...] | None) -> None:
        self._where = where
        self._table = table
        for key in table:
            if keys is not None and key not in keys:
                nearest = difflib.get_close_matches(key, keys, n=1)
                said = f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(keys)}"
                raise self.wrong(key, f"no such key; {said}")

    @property
    def given(self) -> tuple[str, ...]:
        """The keys that are there."""
        return tuple(self._table)

    def line(self, key: str) -> int:
        """Give a key's line."""
        return self._table.lines.get(key, 0)

    def wrong(self, key: str, problem: str) -> WebConfigError:
        """Give the error that blames a key."""
        return WebConfigError(f"{self._where}{key[:60]}: {problem}", self._table.lines.get(key))

    def section(self, key: str, keys: tuple[str, ...] | None) -> WebConfigSection:
        """Give a mapping within; an empty one if there is none."""
        value = self._table.get(key)
        if value is None:
            value = Table()
        if not isinstance(value, Table):
            raise self.wrong(key, f"expected a mapping, found {kind(value)}")
        return WebConfigSection(f"{self._where}{key}.", value, keys)

    def text(self, key: str) -> str:
        """Give a text; empty if there is none."""
        value = self._table.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(key, f"expected text, found {kind(value)}")
        return value

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Give a list of texts, or None if there is none."""
        value = self._table.get(key)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.wrong(key, f"expected a list, found {kind(value)}")
        for each in value:
            if not isinstance(each, str):
                raise self.wrong(key, f"expected a list of texts, found {kind(each)} in it")
        return tuple(value)

    def truth(self, key: str, default: bool) -> bool:
        """Give a truth value."""
        text = self.text(key)
        if text and text.lower() not in _BOOLEANS:
            raise self.wrong(key, f"expected true or false, found {text[:60]!r}")
        return _BOOLEANS[text.lower()] if text else default

    def of(self, key: str, parse: Callable[[str], _T], default: _T) -> _T:
        """Give what a function makes of a text."""
        text = self.text(key)
        try:
            return parse(text) if text else default
        except ValueError as error:
            raise self.wrong(key, str(error)) from None


def kind(value: object) -> str:
    """Give the type of a value, in words."""
    if value is None:
        return "nothing"
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else "text"


def choice(text: str, choices: Iterable[str], what: str) -> str:
    """
    Give a word back that is one of those to choose from.

    :raise ValueError: it is not.
    """
    if text not in (known := tuple(choices)):
        nearest = difflib.get_close_matches(text, known, n=1)
        said = f"did you mean {nearest[0]}?" if nearest else f"expected one of {', '.join(known)}"
        raise ValueError(f"{text[:60]!r} is no {what}; {said}")
    return text
