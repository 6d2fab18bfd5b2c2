"""Tests of the decisions about the range cache."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Headers, RequestInfo
from mpp.coverage.planning.planner import Planner
from mpp.promql.memory import QueryMemory
from mpp.proxy.decisions import caching, identical
from mpp.proxy.decisions.caching import CacheableRequest
from mpp.proxy.decisions.identical import CountedFields

READS = Planner(QueryMemory()).reads


def found(text: bytes, headers: Headers = ()) -> CacheableRequest | str:
    """Return a range query as the cache sees it, or why it is not cached."""
    info = RequestInfo(b"GET", b"/api/v1/query_range?" + text, headers, b"", "203.0.113.9")
    key = identical.key_of(info, CountedFields())
    return "not shared" if key is None else caching.cacheable(info, key, 2000.0, READS)


class CacheableTests(SynchronousTestCase):
    """Which requests the cache answers."""

    def test_other_spellings_are_the_same_query(self) -> None:
        """Order, encoding, the timeout and the range do not count."""
        one, other = found(b"query=a%2Bb&start=0&end=60&step=15"), found(b"step=15&end=120&timeout=3s&start=30&query=a%2bb")
        assert isinstance(one, CacheableRequest) and isinstance(other, CacheableRequest)
        self.assertEqual(one.key, other.key)
        self.assertEqual((one.first, one.last, other.first, other.last), (0, 4, 2, 8))

    def test_what_differs(self) -> None:
        """The phase, the step and further parameters."""
        base = b"query=a&start=0&end=60&step=15"
        keys = [base, base.replace(b"=0&", b"=1&"), base.replace(b"15", b"30"), base + b"&lookback_delta=1m", base + b"&x=y"]
        requests = [each for text in keys if isinstance(each := found(text), CacheableRequest)]
        self.assertEqual(len({each.key for each in requests}), len(keys))

    def test_what_a_server_would_understand_in_another_way(self) -> None:
        """An encoded name of a parameter, which a server decodes: another start than the one that is found."""
        for text in (b"%73tart=90&query=a&start=0&end=60&step=15", b"query=a&start=0&end=60&step=15&+x=1"):
            self.assertEqual(found(text), "the name of a parameter is encoded")

    def test_what_a_server_leaves_out(self) -> None:
        """Go drops a pair with a raw semicolon or an invalid escape: the server would evaluate the next query."""
        for first in (b"query=a+%+4", b"query=a%zz", b'query=up{a=";"}', b"query=a%2"):
            self.assertEqual(found(first + b"&query=evil&start=0&end=60&step=15"), "its parameters are not understood", first)
        self.assertEqual(found(b"query=a&start=0&end=60&step=15&x=;"), "its parameters are not understood")
        self.assertIsInstance(found(b"query=a%7Bx%3D%22%3B%22%7D&start=0&end=60&step=15"), CacheableRequest)

    def test_absurd_ranges(self) -> None:
        """They are for the server to reject; none is an error of mpp."""
        for start, end, step in (
            (b"0", b"11000", b"0.001"),
            (b"0", b"1e99", b"1"),
            (b"-1e12", b"1e12", b"1"),
            (b"9", b"1", b"1"),
            (b"0", b"1", b"0"),
            (b"0", b"1", b"-1"),
            (b"0", b"1", b"1e-9"),
            (b"NaN", b"1", b"1"),
            (b"0", b"1", b"Inf"),
            (b"9" * 5000, b"1", b"1"),
        ):
            self.assertEqual(found(b"query=a&start=%b&end=%b&step=%b" % (start, end, step)), "its parameters are not understood")
        self.assertEqual(found(b"&".join([b"query=a"] * 5000)), "not shared")


class WhyNewTests(SynchronousTestCase):
    """The reason for a miss, which a client gets in a field of its response."""

    def why(self, fields: Headers, cached: Headers) -> str:
        base = found(b"query=a&start=0&end=60&step=15")
        assert isinstance(base, CacheableRequest)
        return caching.why_new(base.key._replace(fields=fields), base.key._replace(fields=cached))

    def test_own_fields_are_named(self) -> None:
        """Only fields of the request itself are named: the names of the others were chosen by another client."""
        for fields, cached, why in (
            (((b"a", b"1"),), ((b"a", b"2"),), "cached with other values of a"),
            (((b"a", b"1"),), (), "cached with other values of a"),
            (((b"a", b"1"), (b"b", b"1")), ((b"b", b"1"), (b"evil", b"")), "cached with other values of a"),
            (((b"a", b"1"), (b"a", b"2")), ((b"a", b"1"),), "cached with other values of a"),
            (((b"a", b"1"),), ((b"a", b"1"), (b"evil", b"")), "cached with other fields"),
            ((), ((b"evil", b""),), "cached with other fields"),
            ((), (), "cached for another user"),
        ):
            self.assertEqual(self.why(fields, cached), why, (fields, cached))

    def test_reason_is_short(self) -> None:
        """However many fields a request has, and however long their names are, the reason has a few hundred characters."""
        fields = tuple((b"%d" % number + b"a" * 60_000, b"") for number in range(100))
        self.assertEqual(self.why(fields, ()).count(", "), 4)
        self.assertLess(len(self.why(fields, ())), 300)


class AskedTests(SynchronousTestCase):
    """The ranges that servers are asked for."""

    @given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=12))
    def test_at_most_four(self, lengths: list[tuple[int, int]]) -> None:
        """They have all missing steps, in order, and none twice."""
        missing, at = [], 0
        for gap, length in lengths:
            missing.append((at + gap, at + gap + length))
            at += gap + length + 1
        asked = caching.ranges_to_ask(missing)
        self.assertLessEqual(len(asked), caching.MOST_RANGES)
        steps = [step for first, last in asked for step in range(first, last + 1)]
        self.assertEqual(steps, sorted(set(steps)))
        self.assertEqual({step for first, last in missing for step in range(first, last + 1)} - set(steps), set())


class WarningsTests(SynchronousTestCase):
    """Responses with warnings."""

    def test_warnings_about_the_query_are_cached(self) -> None:
        """Also if there are more than Prometheus writes; any other warning may say that the response is incomplete."""
        for warnings, cacheable in (
            ((), True),
            (("PromQL warning: bad quantile", "mpp: no server in service has all data"), True),
            (("PromQL warning: bad quantile", "2 more warning annotations omitted"), True),
            (("PromQL warning: bad quantile", "a store is unreachable"), False),
            (("a store is unreachable; 2 more warning annotations omitted",), False),
        ):
            self.assertEqual(caching.is_cacheable_with(warnings), cacheable, warnings)


class DirectivesTests(SynchronousTestCase):
    """What a client says about caches."""

    def test_no_store(self) -> None:
        """In any case, and as one of several directives; another reason has precedence."""
        request = found(b"query=a&start=0&end=60&step=15")
        for value, expected in ((b"No-Store , no-cache", "no-store"), (b"max-age=0", request), (b"x=no-store", request)):
            fields = ((b"cache-control", value),)
            self.assertEqual(caching.unless_forbidden(request, fields), expected, value)
            self.assertEqual(caching.unless_forbidden("a reason", fields), "a reason")
