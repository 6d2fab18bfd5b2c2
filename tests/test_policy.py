"""The retry matrix, row by row, and the choice of the next backend."""

import gzip
import json
import random
import zlib

from twisted.trial.unittest import SynchronousTestCase

from mpp import policy
from mpp.errors import Cause, Phase, UpstreamError
from mpp.model import Backend, Choice, Headers, Selection, Standing
from mpp.policy import ANSWERED, Retry, Verdict, is_proof

A, B, C = (Backend("http", name, 9090) for name in "abc")

NO, ONCE, YES = Retry.NO, Retry.ONCE, Retry.YES
UNTOUCHED = None


def api_error(error_type: str, error: str) -> bytes:
    return json.dumps({"status": "error", "errorType": error_type, "error": error}).encode()


# Why, status, body, whether a read goes elsewhere, what the backend is worth afterwards.
MATRIX: tuple[tuple[str, int, bytes, Retry, Standing | None], ...] = (
    ("an answer", 200, b"{}", NO, UNTOUCHED),
    ("a redirect", 302, b"", NO, UNTOUCHED),
    ("not ready or stopping", 503, b"Service Unavailable", YES, Standing.NOT_READY),
    ("a sidecar's JSON", 503, b'{"message":"no upstream"}', YES, Standing.NOT_READY),
    ("too heavy a query", 503, api_error("timeout", "query timed out in expression evaluation"), NO, UNTOUCHED),
    ("too heavy a query, plain", 503, api_error("timeout", "query timed out in query execution"), NO, UNTOUCHED),
    ("no slot, up to 2.45", 503, api_error("timeout", "query timed out in query queue"), YES, UNTOUCHED),
    ("no slot, since 2.46", 400, api_error("bad_data", 'invalid parameter "query": context deadline exceeded'), YES, UNTOUCHED),
    ("no slot, second wait", 422, api_error("execution", "context deadline exceeded"), YES, UNTOUCHED),
    ("stopping, up to 2.42", 503, api_error("canceled", "query was canceled in query execution"), ONCE, Standing.SUSPECT),
    ("stopping, since 2.43", 499, api_error("canceled", "query was canceled in query execution"), ONCE, Standing.SUSPECT),
    ("stopping, not ours", 499, b"", ONCE, Standing.SUSPECT),
    ("its storage fails", 500, api_error("internal", "input/output error"), ONCE, Standing.SUSPECT),
    ("its storage is not open", 500, api_error("unavailable", "TSDB not ready"), YES, Standing.NOT_READY),
    ("unavailable by another status", 503, api_error("unavailable", "TSDB not ready"), YES, Standing.NOT_READY),
    ("not Prometheus at all", 500, b"<html>oops</html>", YES, Standing.SUSPECT),
    ("a gateway in front", 502, b"<html>bad gateway</html>", YES, Standing.SUSPECT),
    ("a gateway in front, late", 504, b"", YES, Standing.SUSPECT),
    ("a limiter in front", 429, b"slow down", YES, UNTOUCHED),
    ("a wrong query", 400, api_error("bad_data", "parse error"), NO, UNTOUCHED),
    ("a wrong query that quotes the words", 400, api_error("bad_data", 'parse "context deadline exceeded"'), NO, UNTOUCHED),
    ("an impossible query", 422, api_error("execution", "many-to-many matching not allowed"), NO, UNTOUCHED),
    ("an agent", 422, api_error("execution", "unavailable with Prometheus Agent"), NO, UNTOUCHED),
    ("unknown path", 404, b"404 page not found", NO, UNTOUCHED),
    ("wrong method", 405, b"", NO, UNTOUCHED),
    ("wrong credentials", 401, b"Unauthorized", NO, UNTOUCHED),
    ("forbidden", 403, b"Forbidden", NO, UNTOUCHED),
    ("too large", 413, b"", NO, UNTOUCHED),
    ("not implemented", 501, b"", NO, UNTOUCHED),
)


class JudgeAnswerTests(SynchronousTestCase):
    """What answers mean."""

    def test_matrix(self) -> None:
        """Every kind of answer leads to the retry, and to the standing, that it deserves."""
        for why, status, body, retry, standing in MATRIX:
            verdict = policy.judge_answer(status, (), body)
            self.assertEqual((verdict.retry, verdict.standing), (retry, standing), f"{why}: {verdict}")

    def test_compressed_errors_are_understood(self) -> None:
        """Prometheus compresses its errors as well, when the client takes that."""
        body = api_error("timeout", "query timed out in expression evaluation")
        for encoding, encoded in ((b"gzip", gzip.compress(body)), (b"deflate", zlib.compress(body))):
            self.assertEqual(policy.judge_answer(503, ((b"Content-Encoding", encoding),), encoded), ANSWERED)

    def test_damaged_errors_are_no_prometheus_errors(self) -> None:
        """A body that cannot be read is judged by its status."""
        encoded: Headers = ((b"content-encoding", b"gzip"),)
        bodies: tuple[tuple[Headers, bytes], ...] = (
            (encoded, b"no gzip"),
            ((), b"[]"),
            ((), b"\xff"),
            ((), b'{"errorType'),
            ((), b"[" * 60_000),
        )
        for fields, body in bodies:
            self.assertEqual(policy.judge_answer(503, fields, body).reason, "not_ready", body)

    def test_answers_only_a_proxy_could_use_are_masked(self) -> None:
        """When nobody is left, a client gets mpp's error instead of a page that it cannot read."""
        masked = [status for status in (429, 499, 500, 502, 503, 504) if policy.judge_answer(status, (), b"<html>").mask]
        self.assertEqual(masked, [502, 503, 504])


class IsProofTests(SynchronousTestCase):
    """Which responses prove that a server answers queries."""

    def test_table(self) -> None:
        """A success of the API does, compressed or not, whole or begun; another page with a good status does not."""
        success = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
        gzipped: Headers = ((b"Content-Encoding", b"gzip"),)
        for status, fields, body, proof in [
            (200, (), success, True),
            (200, (), b'{\n  "status": "success", "data": []}', True),
            (200, (), success[:30], True),
            (200, gzipped, gzip.compress(success * 50), True),
            (200, gzipped, gzip.compress(success * 50)[:100], True),
            (200, gzipped, success, False),
            (200, (), b"<html><title>Log in</title></html>", False),
            (200, (), b"", False),
            (206, (), success, False),
            (302, (), success, False),
            (404, (), success, False),
        ]:
            self.assertEqual(is_proof(status, fields, body), proof, (status, fields, body))


class JudgeFailureTests(SynchronousTestCase):
    """What failed attempts mean."""

    def test_connection_failures(self) -> None:
        """Who cannot be reached is down at once, our own shortages blame nobody; a write that was not sent may go elsewhere."""
        standings = dict.fromkeys((Cause.REFUSED, Cause.UNREACHABLE, Cause.TLS), Standing.DOWN)
        standings |= dict.fromkeys((Cause.FULL, Cause.LOCAL))
        for cause in Cause:
            verdict = policy.judge_failure(UpstreamError(Phase.CONNECT, cause))
            self.assertEqual(verdict.standing, standings.get(cause, Standing.SUSPECT))
            self.assertEqual((verdict.retry, verdict.resend, verdict.crash), (YES, True, False))

    def test_broken_answers(self) -> None:
        """An answer that breaks off makes its server suspect, and may be the request's fault."""
        for phase in (Phase.HEAD, Phase.BODY):
            for cause in Cause:
                verdict = policy.judge_failure(UpstreamError(phase, cause))
                self.assertEqual((verdict.retry, verdict.standing, verdict.resend), (YES, Standing.SUSPECT, False))
                self.assertEqual(verdict.crash, cause in (Cause.RESET, Cause.CLOSED))

    def test_reasons_tell_the_phase_of_a_truncation(self) -> None:
        """An operator can tell a truncated answer from a missing one in the metrics."""
        self.assertEqual(policy.judge_failure(UpstreamError(Phase.HEAD, Cause.RESET)).reason, "reset")
        self.assertEqual(policy.judge_failure(UpstreamError(Phase.BODY, Cause.RESET)).reason, "truncated_reset")


class MayRetryTests(SynchronousTestCase):
    """Whether one more backend is tried."""

    def allowed(self, verdict: Verdict, **changes: int) -> bool:
        numbers = {"attempts": 1, "retries": 2, "crashes": 0, "read": 1, **changes}
        read = bool(numbers.pop("read"))
        return policy.may_retry(verdict, read=read, **numbers)

    def test_reads_are_tried_up_to_the_configured_number(self) -> None:
        """With two retries a read reaches three backends, with none it reaches one."""
        failed = Verdict("x", YES)
        self.assertEqual([self.allowed(failed, attempts=n) for n in (1, 2, 3)], [True, True, False])
        self.assertFalse(self.allowed(failed, retries=0))

    def test_writes_are_repeated_only_when_nothing_was_sent(self) -> None:
        """A write never runs twice."""
        self.assertFalse(self.allowed(Verdict("x", YES), read=0))
        self.assertTrue(self.allowed(Verdict("x", YES, resend=True), read=0))

    def test_a_request_that_two_servers_died_of_is_not_given_a_third(self) -> None:
        """A deadly query stops after two servers."""
        self.assertTrue(self.allowed(Verdict("x", YES), crashes=1))
        self.assertFalse(self.allowed(Verdict("x", YES), crashes=2))

    def test_once_means_after_the_first_attempt_only(self) -> None:
        """An internal error is tried on one other server."""
        self.assertEqual([self.allowed(Verdict("x", ONCE), attempts=n) for n in (1, 2)], [True, False])

    def test_answers_are_not_retried(self) -> None:
        """What is an answer stays one."""
        self.assertFalse(self.allowed(ANSWERED))


class ChooseTests(SynchronousTestCase):
    """Which backend is next."""

    def choose(
        self, selection: Selection, *tried: Backend, preferred: Backend | None = None, renewed: bool = False
    ) -> Backend | None:
        return policy.choose(selection, preferred, tried, random.Random(1), renewed=renewed)

    def test_preferred_first_then_selected_then_standbys(self) -> None:
        """A request goes where its client belongs, then to who is selected, then down the ranks."""
        selection = Selection(1, Choice((A,), (B, C)))
        self.assertEqual(self.choose(selection, preferred=A), A)
        self.assertEqual(self.choose(selection), A)
        self.assertEqual(self.choose(selection, A), B)
        self.assertEqual(self.choose(selection, A, preferred=A), B)
        self.assertEqual(self.choose(selection, A, B), C)
        self.assertIsNone(self.choose(selection, A, B, C))

    def test_new_clients_are_spread_over_the_selected(self) -> None:
        """Several selected backends share the clients."""
        selection = Selection(1, Choice((A, B), (C,)))
        rng = random.Random(7)
        seen = {policy.choose(selection, None, (), rng) for _ in range(50)}
        self.assertEqual(seen, {A, B})

    def test_a_renewed_selection_gives_its_selected_another_try(self) -> None:
        """When everybody has failed, who is well again after a fresh look is asked again."""
        selection = Selection(2, Choice((A,), (B,)))
        self.assertEqual(self.choose(selection, A, B, renewed=True), A)
        self.assertIsNone(self.choose(Selection(2, Choice((), (A, B))), A, B, renewed=True))


class MayHoldTests(SynchronousTestCase):
    """What may be held back."""

    def test_event_streams_are_not_held_back(self) -> None:
        """Notifications arrive when they are sent."""
        self.assertFalse(policy.may_hold(200, ((b"content-TYPE", b"text/event-stream; charset=utf-8"),)))
        self.assertTrue(policy.may_hold(200, ((b"Content-Type", b"application/json"),)))
        self.assertTrue(policy.may_hold(200, ()))
