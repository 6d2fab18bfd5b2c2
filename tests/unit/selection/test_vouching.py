"""When requests vouch for a backend whose probe is refused."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mpp.core.model import Backend, Observation, Standing
from mpp.selection.outliers import ejection, vouching
from mpp.selection.outliers.ejection import FORGIVEN_AFTER_S
from mpp.selection.outliers.record import BackendRecord

VIABLE, BUSY, SUSPECT, NOT_READY, DOWN = Standing
B = Backend("http", "prom-b", 9090)
FORBIDDEN = "/-/ready responded 403: Forbidden"


def probed(record: BackendRecord, standing: Standing, now: float, *, refused: bool = False, spare: bool = False) -> BackendRecord:
    """Return a record after a probe, judged as the roster has it judged."""
    after = vouching.observed(record, standing, FORBIDDEN, now, refused=refused, spare=spare)
    if after is not None:
        return after
    return ejection.observed(record, standing, FORBIDDEN, now, reports=record.reports, spare=spare, refused=refused)


def refused() -> BackendRecord:
    """Return the record of a backend that was never in service, since its probe gets a 403."""
    return probed(BackendRecord(), NOT_READY, 0.0, refused=True)


class MayBeVouchedForTests(SynchronousTestCase):
    """Whom requests may vouch for."""

    def test_refused_probe(self) -> None:
        """A backend whose probe is refused may be vouched for, whether it was in service before or not."""
        self.assertTrue(vouching.may_be_vouched_for(refused()))
        self.assertTrue(vouching.may_be_vouched_for(probed(probed(BackendRecord(), VIABLE, 0.0), NOT_READY, 1.0, refused=True)))

    def test_not_there(self) -> None:
        """One that cannot be reached, or says that it is not ready, may not; nor one that requests have found down since."""
        for standing in (NOT_READY, DOWN):
            self.assertFalse(vouching.may_be_vouched_for(probed(BackendRecord(), standing, 0.0)))
        gone = ejection.failed(refused(), DOWN, "refused", 1.0, spare=False)
        self.assertFalse(vouching.may_be_vouched_for(gone))
        self.assertTrue(vouching.may_be_vouched_for(probed(gone, NOT_READY, 2.0, refused=True)))


class RescuedTests(SynchronousTestCase):
    """Requests that failed on one backend and were answered by the other one."""

    def test_in_a_row(self) -> None:
        """They count until the failing backend answers a request itself, or none has failed for long."""
        record = BackendRecord()
        for expected in (1, 2, 3):
            record = vouching.rescued(record, 10.0)
            self.assertEqual(record.rescues, expected)
        self.assertEqual(ejection.answered(record).rescues, 0)
        self.assertEqual(vouching.rescued(record, 11.0 + FORGIVEN_AFTER_S).rescues, 1)

    def test_failing_backend_gives_way(self) -> None:
        """The failing backend is ejected for its soft failures, with the reason, and not for fewer than three."""
        record = probed(BackendRecord(), VIABLE, 0.0)
        for failures in (1, 2):
            record = ejection.failed(record, SUSPECT, "answered 500", 1.0, spare=False)
            self.assertIsNone(vouching.gave_way(record, B.name, 1.0).absence, failures)
        record = ejection.failed(record, SUSPECT, "answered 500", 1.0, spare=False)
        absence = vouching.gave_way(record, B.name, 1.0).absence
        assert absence is not None
        self.assertEqual((absence.standing, absence.why), (SUSPECT, "3 requests in a row failed, and succeeded on prom-b:9090"))

    def test_hard_failures(self) -> None:
        """What is out for hard failures already stays so."""
        record = ejection.failed(probed(BackendRecord(), VIABLE, 0.0), DOWN, "refused", 1.0, spare=False)
        self.assertEqual(vouching.gave_way(vouching.rescued(record, 1.0), B.name, 1.0), evolve(record, rescued_at=1.0))


class VouchedForTests(SynchronousTestCase):
    """What becomes of a backend that requests vouch for."""

    def setUp(self) -> None:
        self.record = vouching.vouched_for(refused(), 10.0)

    def shown(self) -> Observation:
        """Return what is published after one more refused probe."""
        observation = Observation(B, NOT_READY, FORBIDDEN, refused=True)
        return vouching.shown(self.record, ejection.shown(self.record, observation, 0.0))

    def test_in_service(self) -> None:
        """It is in service, and shown as viable with the reason, also when it is shown twice."""
        self.assertTrue(self.record.in_service)
        shown = self.shown()
        why = f"it responds to requests, but not to its probe: {FORBIDDEN}"
        self.assertEqual((shown.standing, shown.why, shown.ejected_at, shown.returns), (VIABLE, why, 0.0, 1))
        self.assertEqual(vouching.shown(self.record, shown), shown)

    def test_as_long_as_it_is_alone(self) -> None:
        """It stays for hours while no other backend is in service, and two minutes longer than that."""
        for now in range(10, 7200, 10):
            self.record = probed(self.record, NOT_READY, float(now), refused=True)
        self.assertTrue(self.record.in_service)
        self.record = probed(self.record, NOT_READY, 7200.0 + FORGIVEN_AFTER_S / 2, refused=True, spare=True)
        self.assertTrue(self.record.in_service)
        self.record = probed(self.record, NOT_READY, 7200.0 + FORGIVEN_AFTER_S, refused=True, spare=True)
        self.assertFalse(self.record.in_service)
        self.assertEqual((self.shown().standing, self.shown().why), (NOT_READY, FORBIDDEN))
        self.assertFalse(self.record.ejected)
        self.assertTrue(vouching.may_be_vouched_for(self.record))

    def test_good_probe(self) -> None:
        """From its first good probe on it is in service like any other."""
        self.record = probed(self.record, VIABLE, 20.0)
        self.assertEqual((self.record.in_service, self.record.vouched_at), (True, None))
        self.assertFalse(probed(self.record, NOT_READY, 30.0, refused=True).in_service)

    def test_bad_probe(self) -> None:
        """A probe that does not reach it, or finds it not ready, puts it out at once."""
        for standing in (NOT_READY, DOWN):
            self.assertFalse(probed(self.record, standing, 20.0).in_service)

    def test_failing_requests(self) -> None:
        """Requests that fail on it put it out like any other: hard ones at once, soft ones when another backend answers."""
        self.assertFalse(ejection.failed(self.record, DOWN, "refused", 20.0, spare=False).in_service)
        record = self.record
        for _ in range(3):
            record = ejection.other_answered(ejection.failed(record, SUSPECT, "reset", 20.0, spare=True))
        self.assertFalse(record.in_service)
        self.assertIsNone(record.vouched_at)

    def test_held_by_a_locator(self) -> None:
        """One that a locator holds not to be ready stays in service, too, and is only shown otherwise in the end."""
        record = vouching.vouched_for(probed(BackendRecord(), VIABLE, 0.0), 10.0)
        self.assertIsNotNone(probed(record, VIABLE, 20.0, refused=True, spare=True).vouched_at)
        after = probed(record, VIABLE, 10.0 + FORGIVEN_AFTER_S, refused=True, spare=True)
        self.assertEqual((after.vouched_at, after.in_service), (None, True))
