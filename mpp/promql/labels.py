"""
Conditions on the value of one label, as matchers state them. Pure; knows no other module of mpp.

# Note [Regular expressions of clients]

Python's `re` needs exponential time for some expressions, and the client chooses the expression. So none is compiled. An
expression is understood if it is a list of literals, each with at most a ``.*`` or ``.+`` at its end, as Grafana writes for its
variables. Any other expression counts as one that matches everything: a condition never selects less than a server would.
"""

from __future__ import annotations

import re

from attrs import frozen

MOST_PREFIXES = 20
"""Maximum number of alternatives with ``.*`` or ``.+`` in a regular expression: each is compared with each name."""

_WORK_OF_PATTERNS = 4
# Characters without a meaning in a regular expression of RE2, and punctuation marks behind a backslash.
_PLAIN = r"(?:[^\\.+*?()|\[\]{}^$]|\\[!-/:-@\[-`{-~])*+"
_ALTERNATIVE = rf"{_PLAIN}(?:\.[*+])?"
_ALTERNATIVES = re.compile(rf"{_ALTERNATIVE}(?:\|{_ALTERNATIVE})*+")
_ESCAPED = re.compile(r"\\(.)")


@frozen(cache_hash=True)
class LabelCondition:
    """
    A condition on the value of one label: a matcher that was understood.

    :ivar values: the values that match.
    :ivar prefixes: a value that begins with one of these matches (``api.*``).
    :ivar longer: a value that begins with one of these and is longer matches (``api.+``).
    :ivar negative: the condition selects the values that do not match (``!=``, ``!~``).
    """

    values: frozenset[str]
    prefixes: tuple[str, ...] = ()
    longer: tuple[str, ...] = ()
    negative: bool = False

    @property
    def has_patterns(self) -> bool:
        """Whether some values match by their beginnings, so that each value has to be compared."""
        return bool(self.prefixes or self.longer)

    @property
    def work(self) -> int:
        """The estimated work of `select`. One unit takes some hundredths of a millisecond for 2,000 values."""
        beginnings = len(self.prefixes) + len(self.longer)
        return _WORK_OF_PATTERNS + beginnings if beginnings else int(self.negative)

    @property
    def is_universal(self) -> bool:
        """Whether each value that is not empty matches."""
        return "" in self.prefixes or "" in self.longer

    @property
    def only(self) -> str:
        """The one value that is selected; empty if there may be others."""
        one = not self.negative and not self.has_patterns and len(self.values) == 1
        return next(iter(self.values)) if one else ""

    def selects(self, value: str) -> bool:
        """Return whether the condition accepts a value of the label."""
        return self.matches(value) is not self.negative

    def matches(self, value: str) -> bool:
        """Return whether a value matches, which selects it unless the condition is negative."""
        return (
            value in self.values
            or value.startswith(self.prefixes)
            or any(len(value) > len(prefix) and value.startswith(prefix) for prefix in self.longer)
        )

    def select(self, among: frozenset[str]) -> frozenset[str]:
        """Return the values that the condition accepts among the given ones."""
        found = self.values & among
        if self.has_patterns:
            # Without a call for each value: there may be thousands.
            beginnings = (*self.prefixes, *self.longer)
            begins = frozenset([value for value in among if value.startswith(beginnings)])
            found |= begins - {value for value in begins.intersection(self.longer) if not self.matches(value)}
        return among - found if self.negative else found


def equal(value: str, *, negative: bool) -> LabelCondition:
    """Return the condition of ``=`` or ``!=``."""
    return LabelCondition(frozenset((value,)), negative=negative)


def matching(expression: str, *, negative: bool) -> LabelCondition | None:
    """
    Return the condition of ``=~`` or ``!~``.

    :return: None if the expression is not understood, see Note [Regular expressions of clients].
    """
    alternatives = _alternatives(expression)
    if alternatives is None:
        return None
    values, prefixes, longer = set(), [], []
    for each in alternatives:
        kind = each[-2:]
        if kind == ".*":
            prefixes.append(_ESCAPED.sub(r"\1", each[:-2]))
        elif kind == ".+":
            longer.append(_ESCAPED.sub(r"\1", each[:-2]))
        else:
            values.add(_ESCAPED.sub(r"\1", each))
    if len(prefixes) + len(longer) > MOST_PREFIXES:
        return None
    return LabelCondition(frozenset(values), tuple(prefixes), tuple(longer), negative)


def _alternatives(expression: str) -> list[str] | None:
    inner = expression.removeprefix("^").removesuffix("$") if "\\$" not in expression else expression
    if inner.startswith("(") and inner.endswith(")"):
        inner = inner[1:-1].removeprefix("?:")
    if _ALTERNATIVES.fullmatch(inner) is None or "\\|" in inner:
        return None
    return inner.split("|")
