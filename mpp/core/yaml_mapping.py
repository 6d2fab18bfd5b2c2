"""
Takes a YAML text apart, and says in which line what is wrong: all of it, not only the first thing. Pure.

Knows mappings, lists and scalars, how they are called in a message, and no option. See `mpp.config.file`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator

from attrs import define, frozen

from mpp.core.errors import ConfigError
from mpp.core.text.yaml_events import PlainYAMLError, Table, as_typed, read_yaml

# An option, a list, an entry, http_config, tls_config, a value; what nests deeper is something else.
_MAX_DEPTH = 10
_MAX_SHOWN = 60
_MAX_ERRORS = 50


@frozen
class PlainScalar:
    """A scalar without quotes, as it was written."""

    text: str


def what_is(value: object) -> str:
    """Say what a value is, for a message."""
    if isinstance(value, Table):
        return "keys and values"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, PlainScalar) and as_typed(value.text) is not None:
        kind = "the text " if isinstance(as_typed(value.text), str) else ""
        return f"{kind}{_short(value.text)!r}" if kind else _short(value.text)
    return f"the text {_short(value)!r}" if isinstance(value, str) else "nothing"


def _short(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def kind_of(value: object) -> str:
    """Say what a value is that must not be shown."""
    shown = what_is(value)
    return shown if shown in ("keys and values", "a list", "nothing") else "a scalar"


def read_tree(text: str, name: str) -> tuple[MappingReader | None, list[ConfigError]]:
    """
    Give the mapping that a text is, and what is wrong with it.

    :param name: the file's, for messages.
    :return: None when it is no mapping.
    """
    errors: list[ConfigError] = []

    def repeated(key: str, line: int) -> None:
        errors.append(ConfigError(f"{name}:{line}", f"{_short(key)!r} is there for the second time"))

    try:
        value = read_yaml(text, depth=_MAX_DEPTH, scalar=PlainScalar, repeated=repeated)
    except PlainYAMLError as error:
        # What the parser says is no secret; a name, such as an alias', may be one that lacks its quotes.
        detail = error.detail if error.problem == "not YAML" else ""
        return None, [*errors, ConfigError(name if error.line is None else f"{name}:{error.line}", error.problem + detail)]
    if value is None or (isinstance(value, PlainScalar) and as_typed(value.text) is None):
        value = Table()
    if not isinstance(value, Table):
        return None, [ConfigError(f"{name}:1", f"expected keys and values such as 'port: 9090', found {what_is(value)}")]
    return MappingReader(value, name, errors), errors


@define(eq=False)
class MappingReader:
    """
    A mapping, with what is found to be wrong in it.

    :ivar errors: shared with the mappings inside.
    :ivar path: of keys that lead to it, such as ``backends: http_config: ``; empty for the outermost.
    :ivar found: says in a message what a value is.
    """

    table: Table
    name: str
    errors: list[ConfigError]
    path: str = ""
    line: int = 1
    found: Callable[[object], str] = what_is

    def where(self, key: str) -> str:
        """Give how a key is named in a message."""
        return f"{self.name}:{self.table.lines.get(key, self.line)}: {self.path}{key}"

    def wrong(self, key: str, problem: str) -> None:
        """Take note of what is wrong with a key's value."""
        if len(self.errors) < _MAX_ERRORS:
            self.errors.append(ConfigError(self.where(key), problem))

    def keys(self, known: Collection[str], hints: dict[str, str] | None = None) -> Iterator[str]:
        """Give the known keys that are there; the others are wrong."""
        for key in self.table:
            if key in known:
                yield key
            elif hints and key in hints:
                self.wrong(_short(key), hints[key])
            else:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                self.wrong(_short(key), f"no such key; did you mean {near[0]}?" if near else "no such key")

    def inside(self, key: str) -> MappingReader | None:
        """Give the mapping that a key's value is; None, and an error, if it is none."""
        value = self.table[key]
        if isinstance(value, Table):
            return MappingReader(value, self.name, self.errors, f"{self.path}{key}: ", self.table.lines[key], self.found)
        self.wrong(key, f"expected keys and values, found {self.found(value)}")
        return None

    def each(self, key: str) -> Iterator[MappingReader]:
        """Give the mappings that are the elements of a key's value; errors for what is none."""
        value = self.table[key]
        if not isinstance(value, list):
            self.wrong(key, f"expected a list, found {what_is(value)}")
            return
        for number, element in enumerate(value, start=1):
            if isinstance(element, Table):
                line = min(element.lines.values(), default=self.table.lines[key])
                yield MappingReader(element, self.name, self.errors, f"{self.path}{key} {number}: ", line)
            else:
                self.wrong(key, f"entry {number}: expected keys and values, found {what_is(element)}")

    def texts(self, key: str) -> tuple[str, ...]:
        """Give the texts in the list that a key's value is; errors for what is none."""
        value = self.table[key]
        if not isinstance(value, list) or not value:
            self.wrong(key, f"expected a list, found {'an empty one' if value == [] else self.found(value)}")
            return ()
        texts = []
        for element in value:
            try:
                texts.append(text_of(element, self.found))
            except ValueError as error:
                self.wrong(key, str(error))
        return tuple(texts)

    def text(self, key: str) -> str:
        """Give a key's value as text; empty, and an error, if it is none."""
        return self._checked(key, text_of)

    def boolean(self, key: str) -> bool:
        """Give a key's value, true or false; false, and an error, if it is neither."""
        return self._checked(key, boolean_of) == "true"

    def _checked(self, key: str, check: Callable[[object], str]) -> str:
        try:
            return check(self.table[key])
        except ValueError as error:
            self.wrong(key, str(error))
            return ""


def text_of(value: object, found: Callable[[object], str] = what_is) -> str:
    """
    Give the text of a scalar; numbers and dates are as they were written.

    :param found: says in the message of the ValueError what it is instead.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, PlainScalar) and not isinstance(as_typed(value.text), bool | None):
        return value.text
    hint = "; put it in quotes if it is meant as text" if isinstance(value, PlainScalar) and value.text else ""
    raise ValueError(f"expected text, found {found(value)}{hint}")


def boolean_of(value: object) -> str:
    """Give ``true`` or ``false``."""
    typed = as_typed(value.text) if isinstance(value, PlainScalar) else None
    if not isinstance(typed, bool):
        raise ValueError(f"expected true or false, found {what_is(value)}")
    return "true" if typed else "false"


def number_of(value: object) -> str:
    """Give a whole number, as it was written."""
    typed = as_typed(value.text) if isinstance(value, PlainScalar) else None
    if isinstance(typed, bool) or not isinstance(typed, int):
        raise ValueError(f"expected a whole number, found {what_is(value)}")
    return str(typed)
