"""What failed attempts mean, and the choice of the next backend."""

import gzip
import random

from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.model import Backend, Choice, Headers, Selection, Standing
from mpp.core.prometheus.outcomes import ANSWERED, Outcome, Retry
from mpp.proxy.decisions import retry_policy as policy
from mpp.proxy.decisions.retry_policy import is_proof

A, B, C = (Backend("http", name, 9090) for name in "abc")

NO, ONCE, YES = Retry.NO, Retry.ONCE, Retry.YES


class IsProofTests(SynchronousTestCase):
    """Which responses prove that a server answers queries."""

    def test_success_of_the_api_proves_a_server_healthy(self) -> None:
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

    def allowed(self, verdict: Outcome, **changes: int) -> bool:
        numbers = {"attempts": 1, "retries": 2, "crashes": 0, "read": 1, **changes}
        read = bool(numbers.pop("read"))
        return policy.may_retry(verdict, read=read, **numbers)

    def test_reads_are_tried_up_to_the_configured_number(self) -> None:
        """With two retries a read reaches three backends, with none it reaches one."""
        failed = Outcome("x", YES)
        self.assertEqual([self.allowed(failed, attempts=n) for n in (1, 2, 3)], [True, True, False])
        self.assertFalse(self.allowed(failed, retries=0))

    def test_writes_are_repeated_only_when_nothing_was_sent(self) -> None:
        """A write never runs twice."""
        self.assertFalse(self.allowed(Outcome("x", YES), read=0))
        self.assertTrue(self.allowed(Outcome("x", YES, resend=True), read=0))

    def test_a_request_that_two_servers_died_of_is_not_given_a_third(self) -> None:
        """A deadly query stops after two servers."""
        self.assertTrue(self.allowed(Outcome("x", YES), crashes=1))
        self.assertFalse(self.allowed(Outcome("x", YES), crashes=2))

    def test_once_means_after_the_first_attempt_only(self) -> None:
        """An internal error is tried on one other server."""
        self.assertEqual([self.allowed(Outcome("x", ONCE), attempts=n) for n in (1, 2)], [True, False])

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
        self.assertFalse(policy.may_buffer(200, ((b"content-TYPE", b"text/event-stream; charset=utf-8"),)))
        self.assertTrue(policy.may_buffer(200, ((b"Content-Type", b"application/json"),)))
        self.assertTrue(policy.may_buffer(200, ()))
