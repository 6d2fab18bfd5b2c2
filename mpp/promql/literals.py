"""
The string literals and comments of a query, which are replaced before anything else looks at it, and decoded where needed. Pure;
knows no other module of mpp.

# Note [Placeholders]

The parser never sees a literal. Each is replaced by its number, as in ``".0"``; a regular expression after ``=~`` or ``!~`` by
``"~0"`` after ``=`` or ``!=``. No name without quotation marks looks like that. So the parser compiles no regular expression (a
small one can take 70 ms), one that only RE2 understands is no obstacle, and a count of characters or operators is not misled by
the contents of quotation marks.

Source: Prometheus documentation, "Querying basics", string literals; they are Go's.
"""

from __future__ import annotations

import re

from attrs import frozen

# The time is proportional to the length of the text: all repetitions are possessive, and a literal without an end matches by an
# empty group. The search is fast since each alternative begins with a certain character.
_LITERAL = re.compile(
    r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+(?:"|())'
    r"|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+(?:'|())"
    r"|`[^`]*+(?:`|())"
    r"|#[^\n\r]*+"
)
_EXPRESSION = re.compile(r'([=!])~[ \t\r\n]*+"\.')
_QUOTES = ('"', "'", "`")
MOST_QUOTES = 1000
"""Maximum number of quotation marks and comments in a query: to replace a literal takes half a microsecond."""

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}


@frozen
class Bare:
    """
    A query without comments, whose string literals are replaced by placeholders.

    :ivar text: the query with placeholders; a literal without contents is ``""`` in it.
    :ivar literals: the literals by number, as written, with the quotation marks.
    """

    text: str
    literals: tuple[str, ...]

    def literal(self, placeholder: str) -> str:
        """Return the literal of a placeholder, as written; a name that is no placeholder is returned in backquotes."""
        return self.literals[int(placeholder[1:])] if placeholder[:1] in (".", "~") else f"`{placeholder}`"

    def is_expression(self, placeholder: str) -> bool:
        """Return whether a placeholder replaces a regular expression."""
        return placeholder[:1] == "~"


def bare(query: str) -> Bare | None:
    """Replace the literals of a query by placeholders; return None if it has too many literals, or a literal without an end."""
    if sum(map(query.count, _QUOTES)) + query.count("#") > MOST_QUOTES:
        return None
    literals: list[str] = []
    endless: list[str] = []

    def placeholder(found: re.Match[str]) -> str:
        if found[0][0] == "#":
            return " "
        if found.lastindex is not None:
            endless.append(found[0])
        if len(found[0]) == 2:
            # The parser rejects a selector without a matcher that rejects the empty text, as Prometheus does.
            return '""'
        literals.append(found[0])
        return f'".{len(literals) - 1}"'

    text = _LITERAL.sub(placeholder, query)
    if endless:
        return None
    return Bare(_EXPRESSION.sub(_as_equal, text), tuple(literals))


def _as_equal(found: re.Match[str]) -> str:
    return f'{"=" if found[1] == "=" else "!="}"~'


def decoded(literal: str) -> str | None:
    """Return the contents of a literal; None if it is not valid, or has escapes for bytes instead of characters."""
    inner = literal[1:-1]
    if literal[0] == "`" or "\\" not in inner:
        return inner
    try:
        return _ESCAPE.sub(_character, inner)
    except (KeyError, ValueError, OverflowError):
        return None


def _character(found: re.Match[str]) -> str:
    escape = found[1]
    if len(escape) == 1:
        return _ESCAPED[escape]
    character = chr(int(escape[1:], 16))
    character.encode()
    return character
