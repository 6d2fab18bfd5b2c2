"""What the access log tells of a request."""

from __future__ import annotations

import base64

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import RequestInfo
from mpp.proxy.decisions.access_fields import MAX_NAME, MAX_QUERY, MAX_REASON, describe, query_of, reason_of, trace_of, user_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class DescribeTests(SynchronousTestCase):
    """All together."""

    def test_request_from_a_dashboard(self) -> None:
        """A request tells who asks, from where, and what; of credentials only the name."""
        facts = RequestInfo(
            b"POST",
            b"/api/v1/query_range?x=1",
            (
                (b"Host", b"mpp"),
                (b"Authorization", b"Basic " + base64.b64encode(b"ann:s3cret")),
                (b"X-Dashboard-Uid", b"d1"),
                (b"x-panel-id", b"7"),
                (b"X-Grafana-User", b"bob"),
                (b"traceparent", f"00-{TRACE}-00f067aa0ba902b7-01".encode()),
            ),
            b"start=0&query=rate%28a%5B5m%5D%29+%3E+0",
            "203.0.113.9",
        )
        self.assertEqual(
            describe(facts, facts.peer),
            {
                "client": "203.0.113.9",
                "user": "ann",
                "dashboard": "d1",
                "panel": "7",
                "grafana_user": "bob",
                "method": "POST",
                "path": "/api/v1/query_range",
                "query": "rate(a[5m]) > 0",
                "trace_id": TRACE,
            },
        )

    def test_lines_are_bounded_whatever_a_client_sends(self) -> None:
        """A client cannot make lines long."""
        facts = RequestInfo(b"GET", b"/" + b"p" * 5000 + b"?query=" + b"q" * 5000, ((b"X-Panel-Id", b"i" * 5000),))
        told = describe(facts, facts.peer)
        self.assertEqual([len(told[name]) for name in ("path", "query", "panel")], [MAX_QUERY, MAX_QUERY, MAX_NAME])


class QueryTests(SynchronousTestCase):
    """The beginning of the query."""

    def test_query_is_found_where_prometheus_finds_it(self) -> None:
        """The query is found where Prometheus would find it."""
        for parameters, body, query in (
            (b"query=up", b"", "up"),
            (b"time=1&query=up&query=down", b"", "up"),
            (b"subquery=x", b"", ""),
            (b"query=a", b"query=b", "b"),
            (b"match[]=up&start=1", b"", "up"),
            (b"match%5B%5D=%7Ba%3D%22b%22%7D", b"", '{a="b"}'),
            (b"query=%ff%0A", b"", "\\xff\n"),
            (b"query=" + b"%41" * 10_000, b"", "A" * (MAX_QUERY - 3) + "..."),
            (b"", b"\x1f\x8b\x08", ""),
            (b"", b"", ""),
        ):
            with self.subTest(parameters=parameters[:40], body=body):
                self.assertEqual(query_of(parameters, body), query)


class UserTests(SynchronousTestCase):
    """The user's name."""

    def test_user_name_is_logged_without_secrets(self) -> None:
        """The name is told, and nothing that might be a secret."""
        for field, name in (
            (b"Basic " + base64.b64encode(b"ann:pass:word"), "ann"),
            (b"basic  " + base64.b64encode("jörg:x".encode()), "jörg"),
            (b"Basic " + base64.b64encode(b"nocolon"), ""),
            (b"Basic %%%", ""),
            (b"Basic", ""),
            (b"Bearer " + base64.b64encode(b"ann:x"), ""),
            (b"", ""),
            (b"Basic " + base64.b64encode(b"n" * 500 + b":x"), "n" * (MAX_NAME - 3) + "..."),
        ):
            with self.subTest(field=field):
                self.assertEqual(user_of(field), name)


class TraceTests(SynchronousTestCase):
    """The trace id."""

    def test_valid_trace_ids_are_logged(self) -> None:
        """It is told when it is one, of later versions of the format too."""
        for field, found in (
            (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
            (f" cc-{TRACE}-00f067aa0ba902b7-01-what-may-come ", TRACE),
            (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", ""),
            (f"00-{TRACE}", ""),
            ("x", ""),
        ):
            with self.subTest(field=field):
                self.assertEqual(trace_of(field.encode()), found)


class ReasonTests(SynchronousTestCase):
    """Why it took more than one attempt, or failed."""

    def test_each_reason_is_logged_once_in_order(self) -> None:
        """Each reason is told once, in order, and bounded."""
        for whys, text in (
            ((), ""),
            (("",), ""),
            (("a: refused", ""), "a: refused"),
            (("a: stuck", "client gone"), "a: stuck; client gone"),
            (("a: refused", "b: reset", "nobody could; last: b: reset"), "a: refused; nobody could; last: b: reset"),
            (("x" * 1000,), "x" * (MAX_REASON - 3) + "..."),
        ):
            with self.subTest(whys=whys):
                self.assertEqual(reason_of(whys), text)
