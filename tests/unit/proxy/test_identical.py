"""Tests of the decision which requests are identical."""

from __future__ import annotations

import gzip
import random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.http import route_cookie
from mpp.core.model import Backend, Headers, RequestInfo
from mpp.proxy.decisions.identical import UNSAID, Accepted, CountedFields, RequestKey, is_for_all, is_timeout, key_of, size_of

FORM: Headers = ((b"Content-Type", b"application/x-www-form-urlencoded"),)
QUERY = b"query=up&start=0&end=60&step=15"


def key(
    target: bytes = b"/api/v1/query_range?" + QUERY,
    headers: Headers = (),
    method: bytes = b"GET",
    body: bytes = b"",
    user: bytes = b"",
    counted: CountedFields | None = None,
) -> RequestKey | None:
    """Return the key of a request."""
    info = RequestInfo(method, target, headers, body, "203.0.113.9", user=user)
    return key_of(info, counted or CountedFields())


class ParameterTests(SynchronousTestCase):
    """Requests are told apart by what they ask for."""

    def test_a_form_and_a_query_string_are_the_same(self) -> None:
        """Grafana may send either."""
        self.assertEqual(key(), key(b"/api/v1/query_range", FORM, b"POST", QUERY))
        self.assertEqual(key(), key(b"/api/v1/query_range?step=15", FORM, b"POST", b"end=60&query=up&start=0"))

    @given(st.lists(st.sampled_from([b"query=up", b"start=0", b"?", b""]), max_size=4), st.integers(0, 4), st.randoms())
    def test_identical_requests_have_one_size(self, parameters: list[bytes], in_form: int, shuffled: random.Random) -> None:
        """They are found by it."""
        path, query = b"/api/v1/query_range", b"&".join(parameters)
        mixed = list(parameters)
        shuffled.shuffle(mixed)
        form, rest = b"&".join(mixed[:in_form]), b"&".join(mixed[in_form:])
        requests = [
            RequestInfo(b"GET", path + b"?" + query, ()),
            RequestInfo(b"GET", path + b"?" + b"&".join(mixed), ()),
            RequestInfo(b"POST", path, FORM, query),
            RequestInfo(b"POST", path + b"?", FORM, query),
            RequestInfo(b"POST", path + b"?" + rest, FORM, form),
            RequestInfo(b"POST", path + b"?" + query, FORM),
        ] + [RequestInfo(b"GET", path, ())] * (not query)
        sizes: dict[RequestKey | None, set[int]] = {}
        for each in requests:
            sizes.setdefault(key_of(each, CountedFields()), set()).add(size_of(each))
        self.assertEqual({len(each) for each in sizes.values()}, {1})
        self.assertNotIn(None, sizes)

    def test_the_order_of_parameters_does_not_count(self) -> None:
        """Go writes them sorted, scripts do not."""
        self.assertEqual(key(), key(b"/api/v1/query_range?step=15&end=60&start=0&query=up"))

    def test_the_order_of_equal_parameters_counts(self) -> None:
        """The first value is the one that Prometheus uses."""
        self.assertNotEqual(key(b"/api/v1/query?query=a&query=b"), key(b"/api/v1/query?query=b&query=a"))

    def test_each_parameter_counts(self) -> None:
        """Also a timeout, and parameters that are not known."""
        for other in (b"query=down&start=0&end=60&step=15", QUERY + b"&timeout=3s", QUERY + b"&new=1"):
            self.assertNotEqual(key(), key(b"/api/v1/query_range?" + other))

    def test_the_path_and_its_prefix_count(self) -> None:
        """Two paths have two meanings."""
        self.assertNotEqual(key(), key(b"/prometheus/api/v1/query_range?" + QUERY))

    def test_a_head_request_is_another_one(self) -> None:
        """Its response has no body."""
        self.assertNotEqual(key(), key(method=b"HEAD"))

    def test_what_is_never_shared(self) -> None:
        """Neither writes, event streams, federation and remote read, nor pages, nor a body that is no form."""
        for target in (b"/api/v1/notifications/live", b"/federate?match[]=up", b"/graph", b"/api/v1/read", b"/metrics"):
            self.assertIsNone(key(target), target)
        self.assertIsNone(key(b"/api/v1/admin/tsdb/snapshot", method=b"POST"))
        self.assertIsNone(key(b"/api/v1/query", ((b"Content-Type", b"application/json"),), b"POST", b"{}"))
        self.assertIsNone(key(body=b"ignored"))
        self.assertIsNone(key(method=b"OPTIONS"))
        self.assertIsNone(key(b"/api/v1/series?" + b"&".join([b"match[]=x"] * 300)))


class FieldTests(SynchronousTestCase):
    """Requests are told apart by the header fields that may change the response."""

    def assert_counts(self, name: bytes, value: bytes = b"1") -> None:
        """Check that a field makes another request."""
        self.assertNotEqual(key(), key(headers=((name, value),)), name)

    def assert_neutral(self, name: bytes, value: bytes = b"1") -> None:
        """Check that a field makes no difference."""
        self.assertEqual(key(), key(headers=((name, value),)), name)

    def test_fields_of_grafana_and_of_tracing_are_neutral(self) -> None:
        """Some of them are new for each query."""
        for name in (b"X-Query-Group-Id", b"X-Dashboard-Uid", b"X-Panel-Id", b"X-Rule-Uid", b"traceparent", b"X-B3-TraceId"):
            self.assert_neutral(name)
        for name in (b"Sec-Fetch-Site", b"CF-Ray", b"X-Forwarded-For", b"User-Agent", b"Referer", b"If-None-Match", b"TE"):
            self.assert_neutral(name)

    def test_who_asks_counts(self) -> None:
        """Two users never share a response."""
        for name in (b"Authorization", b"authorization", b"X-Scope-OrgID", b"X-Grafana-User", b"Origin", b"Cookie"):
            self.assert_counts(name)
        # Of proxies that authenticate: oauth2-proxy, Cloudflare Access, AWS.
        for name in (b"X-Forwarded-User", b"X-Forwarded-Email", b"X-Forwarded-Groups", b"X-Forwarded-Access-Token"):
            self.assert_counts(name)
        for name in (b"Cf-Access-Jwt-Assertion", b"Cf-Access-Authenticated-User-Email", b"X-Amzn-Oidc-Data", b"X-Envoy-User"):
            self.assert_counts(name)
        self.assertNotEqual(key(user=b"ann"), key(user=b"bob"))

    def test_an_unknown_field_counts(self) -> None:
        """A proxy behind mpp may look at it."""
        self.assert_counts(b"X-Team")

    def test_the_cookies_of_mpp_are_neutral(self) -> None:
        """Clients differ in them by their affinity only."""
        for value in (b"MPP.Route=0123", b"MPP.Route-0123=4567", b" MPP.Route=0123; MPP.Route-9=1"):
            self.assert_neutral(b"Cookie", value)
        self.assertEqual(key(headers=((b"Cookie", b"a=1"),)), key(headers=((b"Cookie", b"MPP.Route=0; a=1"),)))

    def test_cookies_that_are_sent_to_the_server_count(self) -> None:
        """Also one whose name only begins like mpp's."""
        for value in (b"MPP.Router=ann", b"MPP.Route.User=ann", b"MPP.Route2", b"mpp.route=ann", b"a=MPP.Route=1"):
            self.assertEqual(route_cookie.to_server(value, Backend("http", "a", 9090)), value)
            self.assert_counts(b"Cookie", value)
            self.assertEqual(key(headers=((b"Cookie", value),)), key(headers=((b"Cookie", b"MPP.Route=0;" + value),)))

    def test_a_client_that_takes_no_json_is_another_one(self) -> None:
        """The value of Accept counts only then."""
        for value in (b"*/*", b"application/json", b"text/html, application/json;q=0.9", b"text/html, */*;q=0.8"):
            self.assert_neutral(b"Accept", value)
        for value in (b"text/plain", b"application/openmetrics-text", b"application/jsonp"):
            self.assert_counts(b"Accept", value)

    def test_the_encodings_of_prometheus_count(self) -> None:
        """A client that does not accept gzip gets another body, and one that names deflate first gets deflate."""
        plain, gzipped = key(), key(headers=((b"Accept-Encoding", b"gzip"),))
        for value in (b"gzip", b"br, gzip;q=0.5", b"gzip, deflate, br, zstd"):
            self.assertEqual(key(headers=((b"Accept-Encoding", value),)), gzipped)
            self.assertNotEqual(key(headers=((b"Accept-Encoding", value),)), plain)
        for value in (b"deflate, gzip, br, zstd", b"deflate"):
            self.assertNotIn(key(headers=((b"Accept-Encoding", value),)), (plain, gzipped))
        for value in (b"identity", b"gzip;q=0", b"gzip;q=0.0, br", b"br"):
            self.assertEqual(key(headers=((b"Accept-Encoding", value),)), plain, value)

    def test_a_client_that_wants_no_cached_response(self) -> None:
        """It does not share the fetch of one that may be answered from the cache."""
        for value in (b"No-Cache", b"private, max-age=0", b"no-store"):
            self.assert_counts(b"Cache-Control", value)
        self.assert_counts(b"Pragma", b"no-cache")
        for name, value in ((b"Cache-Control", b"max-age=60"), (b"Pragma", b"max-age=0"), (b"Pragma", b"no-store")):
            self.assert_neutral(name, value)

    def test_a_field_that_is_not_sent_on(self) -> None:
        """A client that names its tenant in Connection gets the response without a tenant, so no other client may get it."""
        tenant = (b"X-Scope-OrgID", b"1")
        for value in (b"X-Scope-OrgID", b"keep-alive, x-scope-orgid", b"close,Cookie", b"," * 2000 + b"Origin"):
            for headers in ((tenant, (b"Connection", value)), ((b"connection", value), tenant)):
                self.assertIsNone(key(headers=headers), value)
        for value in (b"close", b"Keep-Alive", b"keep-alive, Upgrade, HTTP2-Settings", b"TE", b"", b"MPP-Instance"):
            self.assert_neutral(b"Connection", value)

    def test_the_operator_can_change_what_counts(self) -> None:
        """Both ways."""
        counted = CountedFields(vary=[b"user-agent"], neutral=[b"x-team"])
        self.assertEqual(key(counted=counted), key(headers=((b"X-Team", b"1"),), counted=counted))
        self.assertNotEqual(key(counted=counted), key(headers=((b"User-Agent", b"1"),), counted=counted))

    def test_spellings_do_not_count_and_take_bounded_memory(self) -> None:
        """A client may send any number of names."""
        counted = CountedFields()
        for number in range(5000):
            key(headers=((b"X-%d" % number, b"1"),), counted=counted)
        self.assertEqual(key(headers=((b"X-TEAM", b"1"),), counted=counted), key(headers=((b"x-team", b"1"),), counted=counted))
        self.assertLessEqual(len(counted._spellings), 1024)


class ResponseTests(SynchronousTestCase):
    """Not every response answers each of the identical requests."""

    def test_results_and_errors_are_for_all(self) -> None:
        """The query is at fault, or the servers are."""
        for status in (200, 400, 422, 503):
            self.assertTrue(is_for_all(status, (), CountedFields(), UNSAID), status)

    def test_what_one_client_may_get_only(self) -> None:
        """Rejected credentials, redirects, and responses to conditions."""
        for status in (206, 302, 304, 401, 403, 429):
            self.assertFalse(is_for_all(status, (), CountedFields(), UNSAID), status)
        self.assertFalse(is_for_all(200, ((b"Set-Cookie", b"session=1"),), CountedFields(), UNSAID))

    def test_a_response_that_varies_by_a_neutral_field(self) -> None:
        """The server looks at what mpp takes for neutral."""
        for value, shared in ((b"Origin", True), (b"Accept-Encoding, Origin", True), (b"User-Agent", False), (b"*", False)):
            self.assertEqual(is_for_all(200, ((b"Vary", value),), CountedFields(), UNSAID), shared, value)
        self.assertTrue(is_for_all(200, ((b"Vary", b"User-Agent"),), CountedFields(vary=[b"user-agent"]), UNSAID))

    def test_a_response_that_no_cache_may_store(self) -> None:
        """It is for one client; an error is for all, because nothing stores it."""
        for value in (b"no-store", b"no-cache, No-Store", b"private", b"max-age=60,PRIVATE", b'private="X-User, X-Team"'):
            fields = ((b"cache-control", value),)
            self.assertFalse(is_for_all(200, fields, CountedFields(), UNSAID), value)
            self.assertTrue(is_for_all(503, fields, CountedFields(), UNSAID), value)
        for value in (b"", b"public, max-age=60", b"no-cache", b"x-private"):
            self.assertTrue(is_for_all(200, ((b"Cache-Control", value),), CountedFields(), UNSAID), value)

    def test_a_timeout_is_recognized(self) -> None:
        """As Prometheus says it."""
        self.assertTrue(is_timeout(503, (), [b'{"status":"error","errorType":"timeout",', b'"error":"query timed out"}']))
        self.assertFalse(is_timeout(503, (), [b'{"status":"error","errorType":"unavailable"}']))
        self.assertFalse(is_timeout(200, (), [b'{"errorType":"timeout"}']))
        body = gzip.compress(b'{"status":"error","errorType":"timeout","error":"query timed out"}')
        self.assertTrue(is_timeout(503, ((b"Content-Encoding", b"gzip"),), [body]))
        self.assertFalse(is_timeout(503, ((b"Content-Encoding", b"br"),), [body]))

    def test_a_coding_that_not_every_client_accepts(self) -> None:
        """Prometheus chooses gzip or deflate, and a proxy in front of it any coding of the first client."""
        for coding, accepted, shared in (
            (b"gzip", Accepted(gzip=True), True),
            (b"gzip", UNSAID, False),
            (b"deflate", Accepted(gzip=True, deflate=True), True),
            (b"deflate", Accepted(gzip=True), False),
            (b"br", Accepted(gzip=True), False),
            (b"identity", UNSAID, True),
        ):
            fields = ((b"Content-Encoding", coding),)
            self.assertEqual(is_for_all(200, fields, CountedFields(), accepted), shared, (coding, accepted))
