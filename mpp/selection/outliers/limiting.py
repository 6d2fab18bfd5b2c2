"""
Whether a backend that turns requests away is limited, or gone. Pure: it knows one backend, and is told the time.

# Note [Turned away]

A 503 that is not Prometheus' own comes from something in front of it: a limiter (nginx' ``limit_req`` says so by default) in
front of a server that is well, or a gateway to a server that is not there. The two look alike, so the server is asked: it is
probed as soon as the first request was turned away, and again after `CHECK_EVERY_S` as long as there are such requests. If it is
ready, it is *limited*: it stays in service, and a 503 is taken for what a 429 says.

The limiter may turn the probe away as well, or a part of it. So a probe that met a foreign 503 is doubted, and what was known
before stands; a second one is believed, within `REFUSALS_WITHIN_S`, if not one request or probe was answered in between. What the
server itself says (Prometheus' own 503, a refused connection, no answer in time) is believed at once.
"""

from __future__ import annotations

from attrs import evolve, frozen

# Often enough to see a limited server die within a second or two, and nothing beside the traffic that a limiter lets through.
CHECK_EVERY_S = 1.0
# The second probe begins a quarter of a second after the first has ended, and takes a second at most.
REFUSALS_WITHIN_S = 1.5
# A server counts as limited for so long after the last request that was turned away: until the next round, by default.
LIMITED_FOR_S = 10.0


@frozen
class LimiterState:
    """
    What is known of the requests of one backend that were turned away. Times are those of one clock.

    :ivar turned_away_at: when the last one was; None if none was lately.
    :ivar check_at: the time of the last probe that requests asked for, which may be yet to come.
    :ivar refused_at: when a probe was turned away, too, if nothing was answered since.
    :ivar doubted: the last probe was turned away, and is not believed.
    :ivar limited: see Note [Turned away].
    """

    turned_away_at: float | None = None
    check_at: float | None = None
    refused_at: float | None = None
    doubted: bool = False
    limited: bool = False


NOTHING = LimiterState()


def ask(limiting: LimiterState, now: float, *, turned_away: bool) -> tuple[LimiterState, float]:
    """
    Ask for a probe.

    :param turned_away: because of a request that was turned away.
    :return: what is known then, and when the probe is due.
    """
    last = limiting.check_at
    if last is None or last <= now:
        last = now if last is None else max(now, last + CHECK_EVERY_S)
    return evolve(limiting, check_at=last, turned_away_at=now if turned_away else limiting.turned_away_at), last


def answered(limiting: LimiterState) -> LimiterState:
    """Note a request that was answered."""
    return evolve(limiting, refused_at=None)


def ask_again(before: LimiterState) -> bool:
    """
    Return whether a doubted backend is to be probed again soon.

    Not if requests were answered since an earlier probe was doubted: it is there, and further probes would only use up its limit.

    :param before: what was known before the probe.
    """
    return not before.doubted or before.refused_at is not None


def probed(limiting: LimiterState, now: float, *, turned_away: bool, good: bool) -> LimiterState:
    """
    Note a probe of a backend in service.

    :param turned_away: it was, wholly or in part. It is to be believed nevertheless unless the backend is ``doubted`` then.
    :param good: the backend is ready, as far as is known.
    :return: what is known now; the same object if there is nothing to note.
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
    # What was believed once goes on to be, until something is answered.
    if first is None or (limiting.doubted and now - first > REFUSALS_WITHIN_S):
        return evolve(limiting, refused_at=now, doubted=True)
    # It is about to be ejected if it is not good.
    return evolve(limiting, refused_at=now, doubted=False) if good else NOTHING
