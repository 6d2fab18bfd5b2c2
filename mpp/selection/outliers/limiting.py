"""
The decision whether a backend that turns requests away is rate limited or down. Pure: for one backend, the time is an argument.

# Note [Turned away]

A 503 that is not Prometheus' own comes from something in front of it: a limiter (nginx' ``limit_req`` sends it by default) before
a healthy server, or a gateway to a server that is down. The two look alike, so the server is probed as soon as the first request
was turned away, and again after `CHECK_EVERY_S` as long as there are such requests. If it is ready, it is *limited*: it stays in
service, and a 503 is treated like a 429.

The limiter may turn the probe away as well, or a part of it. So the result of a probe that met a foreign 503 is doubted, and the
previous state remains; a second one counts, from `REFUSALS_APART_S` to `REFUSALS_WITHIN_S` later, if no request or probe
succeeded in between. One that comes sooner (a round begins just then) met the same full limiter, and is doubted like the first.
The server's own signs (Prometheus' own 503, a refused connection, no response in time) count at once.
"""

from __future__ import annotations

from attrs import evolve, frozen

# Often enough to see a limited server die within a second or two, and little beside the traffic that a limiter lets through.
CHECK_EVERY_S = 1.0
# The second probe starts a quarter of a second after the first has ended, and takes a second at most.
REFUSALS_WITHIN_S = 1.5
# A limiter that is full lets nothing pass for as long as it takes to drain one request.
REFUSALS_APART_S = 0.2
# Seconds that a server counts as limited after the last request that was turned away: until the next round, by default.
LIMITED_FOR_S = 10.0


@frozen
class LimiterState:
    """
    The requests to one backend that were *turned away*: rejected by a rate limiter or a gateway in front of it.

    All times are of the same clock.

    :ivar turned_away_at: time of the last request of a client that was turned away; None if there was none lately.
    :ivar check_at: due time of the last probe that such a request caused; may be in the future.
    :ivar refused_at: time of the last probe that was turned away; None if a request or a probe has succeeded since.
    :ivar doubted: whether the last probe was turned away, and does not count.
    :ivar limited: whether the backend is ready behind a rate limiter, see Note [Turned away].
    """

    turned_away_at: float | None = None
    check_at: float | None = None
    refused_at: float | None = None
    doubted: bool = False
    limited: bool = False


NOTHING = LimiterState()


def ask(limiting: LimiterState, now: float, *, turned_away: bool) -> tuple[LimiterState, float]:
    """
    Return the state after a probe was requested, and the time at which the probe is due.

    :param turned_away: whether the reason is that a limiter or gateway rejected a client's request.
    """
    last = limiting.check_at
    if last is None or last <= now:
        last = now if last is None else max(now, last + CHECK_EVERY_S)
    return evolve(limiting, check_at=last, turned_away_at=now if turned_away else limiting.turned_away_at), last


def answered(limiting: LimiterState) -> LimiterState:
    """Return the state after a successful request."""
    return evolve(limiting, refused_at=None)


def ask_again(before: LimiterState) -> bool:
    """
    Return whether a backend must be probed again soon after a limiter may have rejected its probe.

    This is not necessary if a request succeeded since an earlier such probe: the backend is up, and further probes would only
    use up what the limiter lets through.

    :param before: the state before the probe.
    """
    return not before.doubted or before.refused_at is not None


def probed(limiting: LimiterState, now: float, *, turned_away: bool, good: bool) -> LimiterState:
    """
    Return the state after a probe of a backend in service; the same object if nothing changes.

    :param turned_away: whether a limiter may have rejected a request of the probe. The probe then counts only if ``doubted`` of
        the returned state is False.
    :param good: whether the backend is ready, as far as is known.
    """
    if turned_away:
        return _turned_away(limiting, now, good=good)
    at = limiting.turned_away_at
    if at is None and limiting.refused_at is None and not limiting.doubted:
        return limiting
    if at is None or now - at > LIMITED_FOR_S:
        return NOTHING
    return LimiterState(at, limiting.check_at, limited=good)


def _turned_away(limiting: LimiterState, now: float, *, good: bool) -> LimiterState:
    first = limiting.refused_at
    # A result that counted once still counts for the next probe, until anything succeeds.
    if first is None or (limiting.doubted and now - first > REFUSALS_WITHIN_S):
        return evolve(limiting, refused_at=now, doubted=True)
    if limiting.doubted and now - first < REFUSALS_APART_S:
        return limiting
    # A backend that is not good is about to be ejected.
    return evolve(limiting, refused_at=now, doubted=False) if good else NOTHING
