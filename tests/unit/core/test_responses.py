"""What responses mean, row by row."""

from __future__ import annotations

import gzip
import json
import zlib

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Headers, Standing
from mpp.core.prometheus import responses
from mpp.core.prometheus.outcomes import ANSWERED, Outcome, Retry
from mpp.core.prometheus.responses import Authorization, SentRequest

NO, ONCE, YES = Retry.NO, Retry.ONCE, Retry.YES
UNTOUCHED = None
ULID = "01M8GZ9PFYTHE1R2A5BWECKCK7"


def api_error(error_type: str, error: str) -> bytes:
    """Return an error as Prometheus' API writes it."""
    return json.dumps({"status": "error", "errorType": error_type, "error": error}).encode()


TOKEN = "invalid parameter \"group_next_token\": invalid group_next_token 'ab'. were rule groups changed?"
NO_LIMIT = '"group_next_token": group_limit needs to be present in order to paginate over the groups'


def unknown_token() -> bytes:
    """Return the error of a Prometheus that is asked for the next page of the rules by a token that it does not know."""
    return api_error("bad_data", TOKEN)


def execution(error: str) -> bytes:
    """Return the body with which a Prometheus answers 422."""
    return api_error("execution", error)


def verdict(
    status: int,
    body: bytes = b"",
    fields: Headers = (),
    *,
    path: bytes = b"/api/v1/query",
    authorization: Authorization = Authorization.NONE,
) -> Outcome:
    """Return the verdict on one response."""
    return responses.classify(status, fields, body, SentRequest(path, authorization)).outcome


# Why, status, body, whether a read goes elsewhere, what the backend is worth afterwards.
MATRIX: tuple[tuple[str, int, bytes, Retry, Standing | None], ...] = (
    ("an answer", 200, b"{}", NO, UNTOUCHED),
    ("a redirect", 302, b"", NO, UNTOUCHED),
    ("not ready or stopping", 503, b"Service Unavailable", YES, Standing.NOT_READY),
    ("not ready, with a line end", 503, b"Service Unavailable\n", YES, Standing.NOT_READY),
    ("a sidecar's JSON", 503, b'{"message":"no upstream"}', YES, Standing.BUSY),
    ("a limiter's page", 503, b"<html>503 Service Temporarily Unavailable</html>", YES, Standing.BUSY),
    ("no body at all", 503, b"", YES, Standing.BUSY),
    ("JSON that only looks like an error", 503, b'{"errorType":"timeout","errorMessage":"x"}', YES, Standing.BUSY),
    ("too heavy a query", 503, api_error("timeout", "query timed out in expression evaluation"), NO, UNTOUCHED),
    ("too heavy a query, plain", 503, api_error("timeout", "query timed out in query execution"), NO, UNTOUCHED),
    ("no slot, up to 2.45", 503, api_error("timeout", "query timed out in query queue"), YES, UNTOUCHED),
    ("no slot, since 2.46", 400, api_error("bad_data", 'invalid parameter "query": context deadline exceeded'), YES, UNTOUCHED),
    ("no slot, second wait", 422, execution("context deadline exceeded"), YES, UNTOUCHED),
    ("stopping, up to 2.42", 503, api_error("canceled", "query was canceled in query execution"), ONCE, Standing.SUSPECT),
    ("stopping, since 2.43", 499, api_error("canceled", "query was canceled in query execution"), ONCE, Standing.SUSPECT),
    ("stopping, not ours", 499, b"", ONCE, Standing.SUSPECT),
    ("its storage fails", 500, api_error("internal", "input/output error"), ONCE, Standing.SUSPECT),
    ("its storage is not open", 500, api_error("unavailable", "TSDB not ready"), YES, Standing.NOT_READY),
    ("unavailable by another status", 503, api_error("unavailable", "TSDB not ready"), YES, Standing.NOT_READY),
    ("not Prometheus at all", 500, b"<html>oops</html>", YES, Standing.SUSPECT),
    ("a gateway in front", 502, b"<html>bad gateway</html>", YES, Standing.SUSPECT),
    ("a gateway in front, late", 504, b"", YES, Standing.SUSPECT),
    ("a gateway without the method", 501, b"", YES, Standing.SUSPECT),
    ("a gateway without the version", 505, b"", YES, Standing.SUSPECT),
    ("a full disk behind WebDAV", 507, b"", YES, Standing.SUSPECT),
    ("Cloudflare: unknown error", 520, b"error code: 520", YES, Standing.SUSPECT),
    ("Cloudflare: handshake failed", 525, b"error code: 525", YES, Standing.SUSPECT),
    ("Cloudflare: its own trouble", 530, b"error code: 1033", YES, Standing.SUSPECT),
    ("a proxy's network timeout", 599, b"", YES, Standing.SUSPECT),
    ("a Prometheus error by a gateway's status", 502, api_error("bad_data", "parse error"), NO, UNTOUCHED),
    ("a gateway did not wait for the request", 408, b"", YES, UNTOUCHED),
    ("a gateway takes the host for another", 421, b"", YES, Standing.SUSPECT),
    ("a gateway wants the handshake's end", 425, b"", YES, UNTOUCHED),
    ("a limiter in front", 429, b"slow down", YES, UNTOUCHED),
    ("a wrong query", 400, api_error("bad_data", "parse error"), NO, UNTOUCHED),
    ("a wrong query that quotes the words", 400, api_error("bad_data", 'parse "context deadline exceeded"'), NO, UNTOUCHED),
    ("a page of the rules by another server's token", 400, unknown_token(), ONCE, UNTOUCHED),
    ("a token without a limit", 400, api_error("bad_data", f"invalid parameter {NO_LIMIT}"), NO, UNTOUCHED),
    ("a wrong query that quotes the token", 400, api_error("bad_data", f"parse error: {TOKEN}"), NO, UNTOUCHED),
    ("an impossible query", 422, execution("many-to-many matching not allowed"), NO, UNTOUCHED),
    ("an agent", 422, execution("unavailable with Prometheus Agent"), NO, UNTOUCHED),
    ("wrong method", 405, b"", NO, UNTOUCHED),
    ("wrong credentials, the client's", 401, b"Unauthorized", NO, UNTOUCHED),
    ("forbidden", 403, b"Forbidden", ONCE, UNTOUCHED),
    ("too large", 413, b"", NO, UNTOUCHED),
)

# As 2.42.0 and 3.5.3 said them, but for those that are marked with the version or place they are from.
STORAGE = (
    "cannot populate chunk 8 from block 00000000000000000000000000: checksum mismatch expected:0, actual:527d5351",
    "2 errors: cannot populate chunk 8 from block 00000000000000000000000000: checksum mismatch expected:c9c3471f, "
    "actual:76407142; cannot populate chunk 3437 from block 00000000000000000000000000: checksum mismatch expected:477acf14, "
    "actual:a51c089b",
    "cannot populate chunk 570741 from block 00000000000000000000000000: segment doesn't include enough bytes to read the chunk "
    "size data field - required:570746, available:567206",
    "cannot populate chunk 4230 from block 00000000000000000000000000: reading chunk length failed with 0",  # tsdb/chunks
    "cannot populate chunk 34359738376 from block 00000000000000000000000000: segment index 8 out of range",  # tsdb/chunks
    f"expanding series: block: {ULID}: get postings offset entry: invalid size",
    f"expanding series: get series 473: block: {ULID}: invalid checksum",
    f"get series 521: block: {ULID}: invalid checksum",
    f"block: {ULID}: get postings offset entry: invalid size",
    "get postings offset entry: invalid size",
    "LabelNames() from merge generic querier: get postings offset entry: invalid size",
    f"LabelValues() from merge generic querier for label job: block: {ULID}: fetching values of label job: get postings offset "
    "entry: invalid size",
    f"block: {ULID}: read label value index: invalid checksum",  # 2.1
    f"expanding series: block: {ULID}: decode postings: invalid size",  # 2.34
    "invalid magic number 0",
    "expanding series: read /prometheus/chunks_head/000003: input/output error",
)
QUERY = (
    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
    "query processing would load too many samples into memory in query execution",
    "expanding series: query processing would load too many samples into memory in query execution",
    "expanding series: context deadline exceeded",
    "expanding series: context canceled",
    "expanding series: query timed out in expression evaluation",
    "found duplicate series for the match group {} on the right hand-side of the operation: "
    '[{text="checksum mismatch"}, {text="cannot populate chunk \\"1\\" "}];many-to-many matching not allowed: matching labels '
    "must be unique on one side",
    "invalid regular expression in label_replace(): cannot populate chunk (",
    "invalid destination label name in label_replace(): checksum mismatch",
    "invalid source label name in label_join(): invalid size",
    "vector cannot contain metrics with the same labelset",
    "",
)


class MatrixTests(SynchronousTestCase):
    """What responses mean."""

    def test_every_response_has_its_retry_and_standing(self) -> None:
        """Every kind of response leads to the retry, and to the standing, that it deserves."""
        for why, status, body, retry, standing in MATRIX:
            found = verdict(status, body)
            self.assertEqual((found.retry, found.standing), (retry, standing), f"{why}: {found}")

    def test_responses_only_a_proxy_could_use_are_masked(self) -> None:
        """When no backend is left, a client gets mpp's error instead of a page that it cannot read."""
        statuses = (404, 408, 421, 425, 429, 499, 500, 501, 502, 503, 504, 520, 599)
        masked = [status for status in statuses if verdict(status, b"<html>").hide_from_client]
        self.assertEqual(masked, [501, 502, 503, 504, 520, 599])

    def test_a_limited_server_is_tried_elsewhere_and_not_waited_for(self) -> None:
        """A response that tells how busy a server is does not cost the client a round of probes."""
        for status in (408, 421, 425, 429):
            self.assertTrue(verdict(status).elsewhere, status)
        self.assertTrue(responses.LIMITED.elsewhere)


class CodingTests(SynchronousTestCase):
    """Errors that are compressed, or claim to be."""

    def test_errors_are_read_in_every_coding_that_is_known(self) -> None:
        """A heavy query's error is the client's, however it is encoded."""
        body = api_error("timeout", "query timed out in expression evaluation")
        raw = zlib.compressobj(wbits=-15)
        codings = {
            b"identity": body,
            b"Identity": body,
            b"": body,
            b"gzip": gzip.compress(body),
            b"x-gzip": gzip.compress(body),
            b"GZIP, identity": gzip.compress(body),
            b"deflate": zlib.compress(body),
            b"Deflate ": raw.compress(body) + raw.flush(),
        }
        for coding, encoded in codings.items():
            self.assertEqual(verdict(503, encoded, ((b"Content-Encoding", coding),)), ANSWERED, coding)

    def test_what_cannot_be_read_is_no_prometheus_error(self) -> None:
        """A body in another coding, or a damaged one, is judged by its status: the server is asked whether it is ready."""
        timeout = api_error("timeout", "query timed out in expression evaluation")
        cases: tuple[tuple[bytes, bytes], ...] = (
            (b"br", timeout),
            (b"zstd", timeout),
            (b"gzip, gzip", gzip.compress(gzip.compress(timeout))),
            (b"gzip", b"no gzip"),
            (b"gzip", gzip.compress(timeout)[:20]),
            (b"deflate", b"\xff\xff\xff"),
            (b"", b"[]"),
            (b"", b"\xff"),
            (b"", b'{"errorType'),
            (b"", b'{"status":"error","errorType":7}'),
            (b"", b'{"status":"error"}'),
            (b"", b"[" * 60_000),
        )
        for coding, body in cases:
            self.assertIs(verdict(503, body, ((b"content-encoding", coding),)), responses.REFUSED, (coding, body[:40]))

    def test_decoding_is_bounded(self) -> None:
        """A small body that inflates to gigabytes costs no more than any other."""
        bomb = gzip.compress(b" " * 50_000_000 + api_error("timeout", "x"))
        self.assertIs(verdict(503, bomb, ((b"Content-Encoding", b"gzip"),)), responses.REFUSED)
        self.assertIs(verdict(503, b" " * 100_000 + api_error("timeout", "x")), responses.REFUSED)


class NotReadyTests(SynchronousTestCase):
    """What is believed to be a server's own word that it is not ready."""

    def test_the_field_of_prometheus_3_is_believed(self) -> None:
        """A server that stops says so in a field, whatever the coding of its body."""
        for value in (b"true", b"false"):
            found = verdict(503, b"?", ((b"X-Prometheus-Stopping", value), (b"Content-Encoding", b"br")))
            self.assertEqual((found.reason, found.standing), ("not_ready", Standing.NOT_READY))

    def test_its_text_is_believed_compressed_too(self) -> None:
        """The plain text counts, whatever its coding."""
        found = verdict(503, gzip.compress(b"Service Unavailable"), ((b"Content-Encoding", b"gzip"),))
        self.assertEqual(found.reason, "not_ready")


class StorageTests(SynchronousTestCase):
    """A server with broken blocks."""

    def test_errors_of_the_storage_are_tried_elsewhere_and_counted(self) -> None:
        """What one server cannot read, the other one may; the first one is to blame."""
        for text in STORAGE:
            found = verdict(422, execution(text))
            self.assertEqual((found.reason, found.retry, found.standing), ("storage", ONCE, Standing.SUSPECT), text)
            self.assertTrue(found.elsewhere and found.storage and not found.hide_from_client, text)

    def test_errors_of_the_query_are_answers(self) -> None:
        """What is wrong with a query is wrong everywhere, whatever words the query contains."""
        for text in QUERY:
            self.assertIs(verdict(422, execution(text)), ANSWERED, text)

    def test_only_executing_fails_so(self) -> None:
        """A query that cannot be parsed is the client's fault, though the error repeats it."""
        self.assertIs(verdict(400, api_error("bad_data", "parse error: cannot populate chunk")), ANSWERED)

    def test_what_it_says_is_told_on_one_line(self) -> None:
        """The server's words can stand in a log: bounded, on one line, without control characters."""
        found = responses.classify(422, (), execution("checksum\nmismatch \x1b[31m" + "x" * 500), SentRequest())
        self.assertTrue(found.error.startswith("checksum mismatch ?[31mxxx"))
        self.assertEqual(len(found.error), 200)
        self.assertEqual(responses.classify(502, (), b"<html>", SentRequest()).error, "")


class CredentialsTests(SynchronousTestCase):
    """Refused credentials."""

    def test_mpps_own_are_tried_elsewhere_and_never_shown(self) -> None:
        """A 401 to mpp's own credentials is no matter of the client's."""
        found = verdict(401, b"Unauthorized", authorization=Authorization.OWN)
        self.assertEqual((found.reason, found.retry, found.standing), ("unauthorized", YES, Standing.VIABLE))
        self.assertTrue(found.hide_from_client and found.credentials)

    def test_the_clients_are_the_clients(self) -> None:
        """Where the client's own credentials were passed on, what is said of them is passed back."""
        for status in (401, 403):
            self.assertIs(verdict(status, authorization=Authorization.CLIENT), ANSWERED)
        self.assertIs(verdict(401, authorization=Authorization.NONE), ANSWERED)

    def test_forbidden_is_tried_once_elsewhere(self) -> None:
        """A 403 counts against no server, and is the answer if another one says so, too."""
        for authorization in (Authorization.OWN, Authorization.NONE):
            found = verdict(403, b"Forbidden", authorization=authorization)
            self.assertEqual((found.reason, found.retry, found.standing), ("forbidden", ONCE, None))
            self.assertTrue(found.elsewhere and not found.hide_from_client)


class LostRouteTests(SynchronousTestCase):
    """Paths that are not found."""

    HTML = b"<html>404 Not Found</html>"
    GO = b"404 page not found\n"

    def found_elsewhere(self, path: bytes, body: bytes) -> bool:
        found = verdict(404, body, path=path)
        return (found.reason, found.retry, found.standing) == ("lost_route", YES, Standing.SUSPECT)

    def test_a_page_that_is_not_prometheus_own_is_tried_elsewhere(self) -> None:
        """A gateway that lost its route is not believed that a Prometheus has no API."""
        for path in (
            b"/api/v1/query",
            b"/api/v1/labels",
            b"/api/v1/label/job/values",
            b"/api/v1/status/buildinfo",
            b"/api/v1/read",
        ):
            self.assertTrue(self.found_elsewhere(path, self.HTML), path)
            self.assertTrue(self.found_elsewhere(path, b'{"message":"no Route matched"}'), path)

    def test_gos_page_is_believed_where_a_version_may_lack_the_path(self) -> None:
        """An old server's 404 is an answer, to Grafana too; but none has no queries (a gateway in Go says the same)."""
        self.assertTrue(self.found_elsewhere(b"/api/v1/query", self.GO))
        for path in (b"/api/v1/status/buildinfo", b"/api/v1/labels", b"/api/v1/features"):
            self.assertFalse(self.found_elsewhere(path, self.GO), path)

    def test_other_paths_and_errors_of_the_api_are_answers(self) -> None:
        """What a Prometheus itself does not find is not found."""
        for path in (b"/", b"/x", b"/x/api/v1/query", b"/api/v1/query/", b"/api//v1/query", b"/api/v1/label/a%2Fb/values"):
            self.assertIs(verdict(404, self.HTML, path=path), ANSWERED, path)
        self.assertIs(verdict(404, api_error("not_found", "no such label")), ANSWERED)
