"""Conditions on the values of labels."""

from __future__ import annotations

import json
import re
import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.promql.labels import LabelCondition, equal, matching
from mpp.promql.literals import bare, decoded

VALUES = st.frozensets(st.text("ab.-|", max_size=4), max_size=12)
LITERAL = st.text("ab-", max_size=3)
ENDING = st.sampled_from(("", "", ".*", ".+"))


class ExpressionTests(SynchronousTestCase):
    """Regular expressions."""

    @given(st.lists(st.tuples(LITERAL, ENDING), min_size=1, max_size=4), VALUES, st.booleans())
    def test_understood_expression_matches_like_re(
        self, alternatives: list[tuple[str, str]], values: frozenset[str], negative: bool
    ) -> None:
        """What is understood matches what a regular expression matches."""
        expression = "|".join(literal + ending for literal, ending in alternatives)
        condition = matching(expression, negative=negative)
        assert condition is not None
        expected = {value for value in values if bool(re.fullmatch(f"(?s:{expression})", value)) is not negative}
        self.assertEqual(condition.select(values), expected)
        self.assertEqual({value for value in values if condition.selects(value)}, expected)

    @given(st.text("ab|.*+()^$\\-?[]", max_size=8), VALUES)
    def test_never_less(self, expression: str, values: frozenset[str]) -> None:
        """Any expression that is understood matches what a regular expression matches."""
        condition = matching(expression, negative=False)
        try:
            pattern = re.compile(f"(?s:{expression})")
        except re.error:
            return
        if condition is not None:
            self.assertEqual(condition.select(values), {value for value in values if pattern.fullmatch(value)})

    def test_not_understood(self) -> None:
        """Anything but literals and what follows them is not understood."""
        for expression in (
            "a.b",
            "(a+)+$",
            "a?",
            "[ab]",
            "(?i)a",
            "a{2}",
            r"\d",
            r"a\|b",
            "(a)(b)",
            "a|(b|c)",
            r"\Qa",
            ".*a",
            "\\",
        ):
            self.assertIsNone(matching(expression, negative=False), expression)
        self.assertIsNone(matching("|".join(f"a{number}.*" for number in range(21)), negative=False))

    def test_hostile_expression_takes_no_time(self) -> None:
        """An expression that Python's re needs years for takes no time."""
        began = time.thread_time()
        for expression in ("(a+)+$" * 1000, "(" * 30000, "a|" * 30000 + "(", "\\" * 60000, ".*" * 30000):
            matching(expression, negative=True)
        self.assertLess(time.thread_time() - began, 0.5)

    def test_equality_selects_one_value(self) -> None:
        """An equality lets one value through, an inequality all others."""
        self.assertEqual(equal("a", negative=False).select(frozenset("abc")), {"a"})
        self.assertEqual(equal("a", negative=True).select(frozenset("abc")), {"b", "c"})
        self.assertEqual(LabelCondition(frozenset()).select(frozenset("abc")), set())


class LiteralTests(SynchronousTestCase):
    """String literals."""

    @given(st.text(st.characters(codec="utf-8")))
    def test_literal_is_decoded_like_go(self, text: str) -> None:
        """A literal that Go reads is read as Go reads it."""
        written = json.dumps(text, ensure_ascii=False).replace("\\u00", "\\U000000")
        self.assertEqual(decoded(written), text)

    def test_invalid_literal_is_not_decoded(self) -> None:
        """What is not valid, or has bytes instead of characters, is not decoded."""
        for literal in (r'"\q"', r'"\x41"', r'"\101"', r'"\U00110000"', r'"\ud800"', r'"\u12"'):
            self.assertIsNone(decoded(literal), literal)
        self.assertEqual(decoded(r"`\q`"), r"\q")

    def test_literals_and_comments_are_taken_out(self) -> None:
        """Literals and comments are taken out; what has no end is noticed."""
        without = bare('a{b="c#",d=~\'e\\\'"\',f!~ `g\n`} # "h\ni')
        assert without is not None
        self.assertEqual(without.text, 'a{b=".0",d="~1",f!="~2"}  \ni')
        self.assertEqual([without.literal(each) for each in (".0", "~1", "~2", "x")], ['"c#"', "'e\\'\"'", "`g\n`", "`x`"])
        for query in ('"', "'a", "`", '"a\nb"', "'\\'", 'a"', '"' * 2001, "#" * 1001):
            self.assertIsNone(bare(query), query[:20])
