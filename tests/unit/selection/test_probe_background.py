"""When the slowly changing state of a server is read beside the rounds. The readings themselves are the test's."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.errors import Cause, Phase, UpstreamError
from mpp.core.facts import ServerState
from mpp.core.model import Backend
from mpp.core.prometheus.runtimeinfo import RuntimeInfo
from mpp.selection.probing.background import PAUSE_FIRST_S, PAUSE_MOST_S, WAIT_S, BackgroundReads, pause_after

A, B = Backend("http", "a", 9090), Backend("http", "b", 9090)
READ = ServerState("3.5.3", read_at=1.0)
LATE = UpstreamError(Phase.HEAD, Cause.TIMEOUT)


class BackgroundReadsTests(SynchronousTestCase):
    """One or two servers whose state is read."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.under_way: dict[Backend, Deferred[ServerState]] = {}
        self.begun = 0
        self.cancelled: list[Backend] = []
        self.reads = BackgroundReads(self.read, self.clock)

    def tearDown(self) -> None:
        self.reads.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [], "a timer is left")

    def read(self, backend: Backend, old: ServerState, runtime: RuntimeInfo | None) -> Coroutine[Deferred[Any], Any, ServerState]:
        """Begin a reading that the test ends."""
        self.begun += 1
        ended = self.under_way[backend] = Deferred(lambda _: self.cancelled.append(backend))

        async def wait() -> ServerState:
            return await ended

        return wait()

    def begin(self, *, outdated: bool = True, started_at: float | None = None, backend: Backend = A) -> Deferred[None]:
        """Have a server read, if it may be."""
        return self.reads.begin(backend, ServerState(), RuntimeInfo(started_at), outdated=outdated)

    def fail_reading(self) -> None:
        """End a reading with a failure."""
        self.under_way.pop(A).errback(LATE)

    def test_found_is_given_until_it_is_published(self) -> None:
        """What was read takes the place of what is known, and is kept no longer than until it is known itself."""
        waited = self.begin()
        self.assertNoResult(waited)
        self.under_way[A].callback(READ)
        self.successResultOf(waited)
        older = ServerState("old")
        self.assertEqual([self.reads.latest(A, known) for known in (older, READ, older)], [READ, READ, older])

    def test_one_at_a_time(self) -> None:
        """A server that is being read is not read a second time, and no probe waits for that."""
        self.begin()
        self.successResultOf(self.begin())
        self.assertEqual(self.begun, 1)
        self.begin(backend=B)
        self.assertEqual(self.begun, 2)

    def test_not_waited_for_when_what_is_known_still_holds(self) -> None:
        """What is read again only for being old makes no round longer."""
        self.successResultOf(self.begin(outdated=False))
        self.assertEqual(self.begun, 1)

    def test_slow_server_is_waited_for_once(self) -> None:
        """A server that is slow is waited for once, until it has been quick again."""
        for seconds, waits in ((WAIT_S + 1, True), (WAIT_S + 1, False), (WAIT_S - 1, False), (WAIT_S - 1, True)):
            waited = self.begin()
            self.assertEqual(not waited.called, waits)
            self.clock.advance(seconds)
            self.under_way[A].callback(READ)
            self.successResultOf(waited)
        self.assertEqual(self.begun, 4)

    def test_less_often_while_it_fails(self) -> None:
        """A server that cannot be read is tried ever less often, is not waited for, and is tried as before after a success."""
        self.begin()
        self.fail_reading()
        for number in range(1, 12):
            pause = pause_after(number)
            self.clock.advance(pause - 0.5)
            self.successResultOf(self.begin())
            self.assertEqual(self.begun, number)
            self.clock.advance(0.5)
            self.successResultOf(self.begin())
            self.assertEqual(self.begun, number + 1)
            self.fail_reading()
        self.assertEqual((pause_after(1), pause_after(2), pause), (PAUSE_FIRST_S, 2 * PAUSE_FIRST_S, PAUSE_MOST_S))
        self.clock.advance(PAUSE_MOST_S)
        self.begin()
        self.under_way[A].callback(READ)
        self.assertNoResult(self.begin())

    def test_restarted_while_it_fails(self) -> None:
        """A server that has restarted is read at once, once for each start, whatever failed before."""
        self.begin(started_at=1000.0)
        self.fail_reading()
        self.begin(started_at=1001.0)
        self.assertEqual(self.begun, 1)
        self.begin(started_at=2000.0)
        self.assertEqual(self.begun, 2)
        self.fail_reading()
        self.begin(started_at=2000.0)
        self.assertEqual(self.begun, 2)

    def test_removed_server_is_forgotten(self) -> None:
        """Nothing is remembered of a server that is not listed any more, and what is read of it is cancelled."""
        waited = self.begin()
        self.begin(backend=B)
        self.reads.keep((B,))
        self.successResultOf(waited)
        self.assertEqual(self.cancelled, [A])
        self.begin()
        self.fail_reading()
        self.reads.keep((B,))
        self.begin()
        self.assertEqual(self.begun, 4)
        self.under_way[A].callback(READ)
        self.reads.keep((B,))
        self.assertEqual(self.reads.latest(A, ServerState()), ServerState())

    def test_cancelled_waiting(self) -> None:
        """A probe that is cancelled stops waiting, and the reading goes on."""
        waited = self.begin()
        waited.cancel()
        self.failureResultOf(waited)
        self.under_way[A].callback(READ)
        self.assertEqual((self.reads.latest(A, ServerState()), self.cancelled), (READ, []))

    def test_unexpected_failure_is_logged(self) -> None:
        """A reading that fails otherwise is logged, and is a failure like any other."""
        waited = self.begin()
        self.under_way[A].errback(ZeroDivisionError("a bug"))
        self.successResultOf(waited)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.begin()
        self.assertEqual(self.begun, 1)

    def test_no_read_starts_after_the_end(self) -> None:
        """Nothing is read any more at the end."""
        waited = self.begin()
        self.reads.stop()
        self.successResultOf(waited)
        self.successResultOf(self.begin())
        self.assertEqual((self.begun, self.cancelled), (1, [A]))
