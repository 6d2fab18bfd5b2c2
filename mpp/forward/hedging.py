"""
Looks after an attempt that takes long: has its server asked whether it is there, and makes another attempt beside it if that is
not so.

Whether a silent server is still there is known to `mpp.forward.suspicion`, what the end of an attempt means to
`mpp.forward.attempts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from txaio import tx

from mpp import policy
from mpp.errors import Cause, Phase, UpstreamError
from mpp.forward.suspicion import Sign

if TYPE_CHECKING:
    from mpp.forward.attempt import Attempt
    from mpp.forward.forwarder import Forwarder
    from mpp.forward.terms import Terms
    from mpp.model import Backend

_log = tx.make_logger()


class Hedged(Protocol):
    """A request whose attempts are looked after: `mpp.forward.attempts.Attempts`."""

    whys: tuple[str, ...]

    @property
    def started(self) -> int:
        """Return how many attempts were made."""

    @property
    def running(self) -> list[Attempt]:
        """Return the attempts under way, in the order in which they began."""

    def busy(self) -> list[Backend]:
        """Return the backends that need not be asked."""

    def attempt(self, backend: Backend, /) -> None:
        """Make another attempt."""

    def lost(self, attempt: Attempt, error: UpstreamError, /) -> None:
        """Go on after an attempt that brought no usable answer."""


def look_after(request: Hedged, attempt: Attempt, context: Forwarder, terms: Terms) -> None:
    """Count one tick of an attempt, and act if it takes too long."""
    quiet = attempt.tick()
    if attempt.received and attempt.silent >= context.stall_ticks:
        attempt.cancel()
        request.lost(attempt, stalled(context.settings.stall_timeout))
    elif attempt.overtaken or not terms.read or attempt not in request.running:
        pass
    elif quiet:
        sign = context.suspicions.sign(attempt.backend, quiet)
        if sign is Sign.STUCK:
            _hedge(request, attempt, context, terms, "stuck")
        elif sign is Sign.ALIVE:
            attempt.trust()
    if 0 < context.settings.hedge_after <= context.clock.seconds() - attempt.sent_at and request.started == 1:
        _hedge(request, attempt, context, terms, "slow")


def _hedge(request: Hedged, attempt: Attempt, context: Forwarder, terms: Terms, reason: str) -> None:
    """Make another attempt beside one that takes too long, if there is a usable backend for it."""
    if attempt.overtaken or not terms.read or request.started > context.settings.retries:
        return
    backend = policy.choose(context.selections.current, None, request.busy(), context.rng)
    if backend is None or not context.selections.current.is_usable(backend) or not context.afford("hedge", terms.facts):
        # Perhaps there is one later.
        attempt.trust()
        return
    attempt.overtaken = True
    context.metrics.hedged(attempt.backend.name, reason)
    request.whys += (f"{attempt.backend.name}: {reason}",)
    _log.debug(
        "hedge of {target}: {slow} is {reason}, {backend} is asked as well",
        target=terms.facts.target[:200].decode("latin-1"),
        slow=attempt.backend.name,
        reason=reason,
        backend=backend.name,
    )
    request.attempt(backend)


def stalled(seconds: float) -> UpstreamError:
    """Return the failure of an answer that has begun and has not gone on for so many seconds."""
    return UpstreamError(Phase.BODY, Cause.TIMEOUT, f"silent for {seconds:g} s")
