"""
Explains which backend a request would be sent to, and why. Calls the same functions as forwarding does, in the same order, but
sends nothing and records nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence

from attrs import evolve, frozen

from mpp.core.interfaces import ISuspectQueries
from mpp.core.model import Backend, Observation, RequestInfo, Selection, Standing
from mpp.core.prometheus import paths
from mpp.core.prometheus.unsafe_paths import FORWARDED_METHODS
from mpp.core.settings import Settings
from mpp.core.text.humanize import listing
from mpp.coverage.planning.request_plan import RequestPlan
from mpp.proxy.decisions import explained_sentences as sentences
from mpp.proxy.decisions import rerouting
from mpp.proxy.decisions import retry_policy as policy
from mpp.proxy.decisions.affinity import AffinityChain
from mpp.proxy.decisions.client_address import client_address_of, routing_proxies
from mpp.proxy.decisions.placement import for_time, sticky_choice
from mpp.proxy.decisions.request_deadline import RequestDeadline
from mpp.selection.query_of_death import healthy, key_of
from mpp.selection.verdict.verdict import BAD, GOOD, WARN, VerdictFinding, VerdictState, judge_servers

PlanFor = Callable[[Selection, Backend], RequestPlan | None]
"""
Returns which servers answer the request, if some servers lack data that it reads, and None if no lack matters to it. The
arguments are the selection, and the server that would answer if no server lacked anything.
"""


@frozen
class Explanation:
    """
    The explanation of which backend a request would be sent to, and why.

    :ivar target: the path and query.
    :ivar client: the client's address; empty for a Unix socket.
    :ivar outcome: ``forwarded``, ``own`` (mpp answers itself), ``refused`` or ``unavailable`` (no server is known or
        reachable).
    :ivar reasons: sentences that explain the other values, in the order of the decision.
    :ivar backends: the backend that would be tried first; if `decided_by` is ``chance``, several of which one is chosen at
        random; if it is ``coverage``, all that would answer a part, in the order of the parts.
    :ivar next_backends: the backends of retries, in order, up to the first random choice; empty for a request that is sent once,
        and for one that is answered in parts, whose retries differ.
    :ivar decided_by: ``affinity``, ``strategy``, ``chance``, or ``coverage`` if another backend has more of the data than the one
        that affinity or strategy choose; empty unless forwarded.
    :ivar affinity: the name of the affinity that decided, or empty.
    :ivar read: whether the request may be sent to another backend when one fails.
    :ivar deadline_seconds: the seconds until the response must begin.
    :ivar level: how good the outcome is for the client: ``good``, ``warn`` or ``bad``.
    :ivar servers: a sentence on the state of the servers; empty if that is not bad or does not matter to the request.
    """

    method: str
    target: str
    client: str
    outcome: str
    reasons: tuple[str, ...]
    backends: tuple[str, ...] = ()
    next_backends: tuple[str, ...] = ()
    decided_by: str = ""
    affinity: str = ""
    read: bool = False
    deadline_seconds: float | None = None
    level: str = GOOD
    servers: str = ""

    @property
    def verdict(self) -> str:
        """The explanation in one sentence."""
        if self.outcome == "own":
            return "mpp would answer this itself."
        if self.outcome == "refused":
            return "mpp would reject this request."
        if self.outcome == "unavailable":
            return f"No server would answer this. {self.servers}".rstrip()
        if self.level == BAD:
            return f"{listing(self.backends)} would be asked for this as a last resort. {self.servers}".rstrip()
        if len(self.backends) == 1:
            return f"{self.backends[0]} would answer this."
        if self.decided_by == "coverage":
            return f"{listing(self.backends)} would answer this together, each for some of the steps."
        return f"One of {listing(self.backends)} would answer this, taken at random."


def explain(
    info: RequestInfo,
    selection: Selection,
    affinity: AffinityChain,
    settings: Settings,
    now: float,
    suspects: ISuspectQueries,
    plan: PlanFor,
    unfit: Collection[Backend] = (),
) -> Explanation:
    """
    Explain what mpp would do with a request.

    :param suspects: the reads that servers may have died of lately.
    :param unfit: the backends that could not read the data of the query lately.
    :param now: the current time by the monotonic clock.
    :param plan: returns the servers that answer by what they lack, see `PlanFor`.
    """
    path, client = paths.path_of(info.target), client_address_of(settings.trusted_proxies)(info)
    if paths.is_own(path):
        return _local(info, client, "own", "Paths below /mpp are mpp's own; no server sees them.")
    if info.method not in FORWARDED_METHODS:
        return _local(info, client, "refused", "Requests with this method are never forwarded.")
    if not settings.allow_unsafe_paths and paths.is_unsafe_behind(info.method, path, selection.prefixes):
        rejection = paths.rejection_behind(info.method, path, selection.prefixes)
        if rejection.status == 405:
            return _local(info, client, "refused", "Prometheus does not have this method at this path; mpp answers 405 itself.")
        return _local(info, client, "refused", f"It {rejection.why}. --allow-unsafe-paths would let it through.")
    if not selection.ranked:
        why = "No server is known; the request would wait for one for a while, and then get a 503."
        return evolve(_local(info, client, "unavailable", why), servers=judge_servers(selection).text)
    deadline = RequestDeadline(info, now, settings)
    if deadline.read and suspects.until and key_of(info) in suspects and healthy(selection, ()) < 2:
        why = "A server may have died of this query minutes ago, so it is not sent to the last healthy one (--crash-suspect)."
        return _local(info, client, "refused", why)
    return _forwarded(info, client, selection, affinity, settings, deadline, plan, unfit)


_LEVELS = {"own": GOOD, "refused": WARN, "unavailable": BAD}


def _local(info: RequestInfo, client: str, outcome: str, *reasons: str) -> Explanation:
    method, target = info.method.decode("latin-1"), info.target.decode("latin-1")
    return Explanation(method, target, client, outcome, reasons, level=_LEVELS[outcome])


def _forwarded(
    info: RequestInfo,
    client: str,
    selection: Selection,
    affinity: AffinityChain,
    settings: Settings,
    deadline: RequestDeadline,
    plan_for: PlanFor,
    unfit: Collection[Backend],
) -> Explanation:
    selection = for_time(selection, info)
    preferred, name = _preferred(info, selection, affinity, settings, deadline)
    first = _destination(selection, preferred, plan_for, unfit)
    after = _after(selection, first, settings.retries) if deadline.read and len(first.backends) == 1 else ()
    asked = [o for o in selection.observations if o.backend in first.backends]
    servers = judge_servers(selection)
    reasons = (
        sentences.by_affinity(preferred, name, settings),
        sentences.by_strategy(selection, settings),
        *dict.fromkeys(sentence for plan in first.plans for sentence in plan.sentences()),
        *sentences.by_standing(asked),
        *sentences.by_data(selection, unfit),
        sentences.retries(deadline, min(settings.retries, len(selection.ranked) - 1), after, in_parts=first.in_parts),
        sentences.deadline_of(deadline),
    )
    return Explanation(
        info.method.decode("latin-1"),
        info.target.decode("latin-1"),
        client,
        "unavailable" if servers.state is VerdictState.ALL_DOWN else "forwarded",
        reasons,
        tuple(backend.name for backend in first.backends),
        tuple(backend.name for backend in after),
        first.decided_by,
        name if first.decided_by == "affinity" else "",
        deadline.read,
        deadline.ends_at - deadline.began,
        _level(servers, asked),
        servers.text if servers.level == BAD else "",
    )


def _preferred(
    info: RequestInfo, selection: Selection, affinity: AffinityChain, settings: Settings, deadline: RequestDeadline
) -> tuple[Backend | None, str]:
    """Return the backend that an affinity keeps the client on, and the name of the affinity."""
    if deadline.sticky:
        return sticky_choice(deadline, selection, routing_proxies(settings.trusted_proxies).client_address)
    return affinity.preferred(info, selection, deadline.began)


def _level(servers: VerdictFinding, asked: Sequence[Observation]) -> str:
    """Return the level of an explanation: it is no better than the servers that the request would be sent to first."""
    if servers.level == BAD:
        return BAD
    return GOOD if all(observation.standing is Standing.VIABLE for observation in asked) else WARN


@frozen
class _Destination:
    """
    Where a request would be sent first.

    :ivar backends: see `Explanation`.
    :ivar decided_by: see `Explanation`.
    :ivar plans: the plans that matter: one, or one for each backend that chance may choose.
    """

    backends: tuple[Backend, ...]
    decided_by: str
    plans: tuple[RequestPlan, ...]

    @property
    def in_parts(self) -> bool:
        """Whether several backends would answer, each some of the steps."""
        return any(plan.is_divided for plan in self.plans)


def _destination(selection: Selection, preferred: Backend | None, plan_for: PlanFor, unfit: Collection[Backend]) -> _Destination:
    """Return where the request would be sent first."""
    own = _own(selection, preferred, unfit)
    plans = tuple(plan for each in own if (plan := plan_for(selection, each)) is not None)
    divided = next((plan for plan in plans if plan.is_divided), None)
    if divided is not None:
        return _Destination(tuple(dict.fromkeys(part.backend for part in divided.plan.parts)), "coverage", (divided,))
    planned = {plan.own: plan.backend for plan in plans}
    found = tuple(dict.fromkeys(planned.get(each, each) for each in own))
    return _Destination(found, _decided_by(preferred, own, found), plans)


def _own(selection: Selection, preferred: Backend | None, unfit: Collection[Backend]) -> tuple[Backend, ...]:
    """Return where the request would be sent if no backend lacked anything: several backends if chance decides."""
    first = policy.choose(selection, preferred, (), random.Random())
    assert first is not None, "at least one server is known"
    own = (first,) if preferred is not None or len(selection.selected) < 2 else selection.selected
    if not any(each in unfit for each in own):
        return own
    fit = tuple(each for each in selection.selected if each not in unfit)
    return fit or (policy.spare(selection, own[0], unfit, random.Random()) or own[0],)


def _decided_by(preferred: Backend | None, own: tuple[Backend, ...], found: tuple[Backend, ...]) -> str:
    """Return what decides to which of some backends a request is sent that is not divided."""
    if len(found) == 1 and found != own:
        return "coverage"
    if len(own) > 1:
        return "chance"
    return "affinity" if preferred in own else "strategy"


def _after(selection: Selection, first: _Destination, most: int) -> tuple[Backend, ...]:
    """Return the backends of retries, in order, up to the first choice that is random: one of several selected backends."""
    tried = list(first.backends)
    after: list[Backend] = []
    while len(after) < most:
        best = rerouting.next_best(first.plans[0], selection, tried) if first.plans else None
        if best is None and sum(backend not in tried for backend in selection.selected) > 1:
            break
        backend = policy.choose(selection, best, tried, random.Random())
        if backend is None:
            break
        tried.append(backend)
        after.append(backend)
    return tuple(after)
