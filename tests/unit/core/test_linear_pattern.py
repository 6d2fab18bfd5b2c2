"""Regular expressions that are matched in linear time."""

from __future__ import annotations

import re
import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.text.linear_pattern import DEEPEST, LinearPattern

PARTS = ("a", "b", "(", "(?:", ")", "|", "*", "+?", "?", "{2}", "{1,}", "{0,2}", ".", "[ab]", "[^a]", "^", "$", r"\w", r"\.", "-")


class MatchingTests(SynchronousTestCase):
    """What matches."""

    def test_expressions_match_as_in_prometheus(self) -> None:
        """Expressions for origins mean what they mean to Prometheus."""
        for pattern, text, expected in (
            (r"https?://(domain1|domain2)\.com", "http://domain2.com", True),
            (r"https?://(domain1|domain2)\.com", "https://domain1xcom", False),
            (r"https://([a-z0-9-]+\.)*example\.com(:[0-9]{1,5})?", "https://a.b-c.example.com:8443", True),
            (r"https://([a-z0-9-]+\.)*example\.com(:[0-9]{1,5})?", "https://example.com:123456", False),
            (r"^https://a\.test$|^null$", "null", True),
            (r"(?i)HTTPS://A\.[T]est", "https://a.tEST", True),
            (r"\d{2,3}?\D\s\S", "12x y", True),
            (r"[\d.\-\]]+", "1.-]", True),
            (r"[^/]*", "a/b", False),
            ("a{,2}", "a{,2}", True),
            ("", "", True),
            ("", "a", False),
        ):
            self.assertEqual(LinearPattern(pattern).matches(text), expected, (pattern, text))

    @given(st.lists(st.sampled_from(PARTS), max_size=9).map("".join), st.text("ab.-", max_size=6))
    def test_as_python_has_it(self, pattern: str, text: str) -> None:
        """What Python and mpp both understand they understand alike."""
        try:
            theirs, ours = re.compile(pattern), LinearPattern(pattern)
        except (re.error, ValueError):
            return
        self.assertEqual(ours.matches(text), theirs.fullmatch(text) is not None)

    def test_not_understood(self) -> None:
        """What is no expression, or one that mpp does not have, is an error that says why."""
        for pattern, why in (
            ("a(b", "it has a ( without a )"),
            ("a)b", "it has a ) without a ("),
            ("a[b", "'[b' is not understood here"),
            ("+a", "there is nothing to repeat before '+'"),
            ("a**", "there is nothing to repeat before '*'"),
            ("a{3,2}", "{3,2} has its numbers in the wrong order"),
            ("[z-a]", "[z-a]: bad character range z-a"),
            (r"\pL", r"'\\pL' is not understood here"),
            (r"(a)\1", r"'\\1' is not understood here"),
            ("(?P<x>a)", "'(?P<' is not understood here"),
            ("(?=a)", "'(?=a' is not understood here"),
            ("a{1001}", "it is too large: it has more than 1000 states"),
            ("(((){1000}){1000}){1000}", "it is too large: it has more than 1000 states"),
            ("(" * 500 + ")" * 500, f"it has more than {DEEPEST} nested groups"),
        ):
            self.assertEqual(str(self.assertRaises(ValueError, LinearPattern, pattern)), why, pattern)

    def test_no_expression_is_slow_on_any_text(self) -> None:
        """No expression takes long with a text that is made for it, however often it could be read in another way."""
        for pattern, text in (
            ("(a+)+b", "a" * 256),
            (r"https://(.*\.)*example\.com", "https://" + "a." * 124),
            ("(((a|a)*)*)*b", "a" * 256),
            ("(.*){100}b", "a" * 256),
            ("(a?){100}a{100}b", "a" * 256),
        ):
            subject = LinearPattern(pattern)
            began = time.process_time()
            self.assertFalse(subject.matches(text))
            self.assertLess(time.process_time() - began, 1.0, pattern)
