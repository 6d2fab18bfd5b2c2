"""
The values that all layers of mpp share. Frozen; tuples, not lists; bytes on the wire, str elsewhere.

Times are seconds; points in time are seconds since the epoch (UTC).
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from attrs import Factory, evolve, field, frozen

from mpp.core.facts import NO_FACTS, Gap, Lack, Replay, ServerState

KIB = 1024
MIB = 1024 * 1024

Headers = tuple[tuple[bytes, bytes], ...]
"""Header fields as received: order, case and repetitions kept."""


@frozen(cache_hash=True)
class Backend:
    """
    One Prometheus server, by address. Two Backends are the same server if and only if they are equal.

    :ivar scheme: ``http`` or ``https``.
    :ivar host: lower-case host name, IPv4 address or IPv6 address (without brackets).
    :ivar port: TCP port.
    :ivar prefix: path prefix, empty or like ``/prometheus`` (leading slash, no trailing one).
    """

    scheme: str
    host: str
    port: int
    prefix: str = ""
    netloc: str = field(init=False, eq=False)
    """``host:port``, with brackets around IPv6 addresses: the value of ``MPP.ServedBy`` and of the ``Host`` header."""
    authority: bytes = field(
        init=False, eq=False, repr=False, default=Factory(lambda self: self.netloc.encode("ascii"), takes_self=True)
    )
    """``netloc`` encoded for the wire."""
    name: str = field(init=False, eq=False, default=Factory(lambda self: self.netloc + self.prefix, takes_self=True))
    """``netloc`` and prefix: unique among http backends, the ``backend`` label in metrics and logs."""
    id: str = field(init=False, eq=False)
    """Short hash of the URL: opaque, unkeyed, the same on every mpp instance."""
    route: bytes = field(init=False, eq=False, repr=False, default=Factory(lambda self: self.id.encode("ascii"), takes_self=True))
    """The ``id`` as bytes: the value of the affinity cookie."""

    @netloc.default
    def _netloc(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @id.default
    def _id(self) -> str:
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]

    @property
    def url(self) -> str:
        """The canonical URL of the backend, ``http://prom-a:9090/prefix``."""
        return f"{self.scheme}://{self.netloc}{self.prefix}"


@frozen
class DiscoveredBackend:
    """
    A backend in the list of a locator.

    :ivar not_ready: why the discovery source reports it as not ready, one line; empty when the source does not do so. A backend
        that is not ready is probed and shown, but used only when no other is left, whatever it reports about itself.
    :ivar leaving: it is not ready only because it is being stopped on purpose, as in a rolling restart.
    :ivar sources: which of several sources of the locator list it; empty when the locator has only one.
    """

    backend: Backend
    not_ready: str = ""
    leaving: bool = False
    sources: tuple[str, ...] = field(default=(), eq=False)


class RequestInfo(NamedTuple):
    """
    The parts of a client's request that policy, affinity and forwarding may use.

    :ivar method: as sent, upper case.
    :ivar target: the raw request target, starts with ``/``; never decoded and encoded again.
    :ivar headers: as received.
    :ivar body: the whole body, decoded from chunks if it came in chunks.
    :ivar peer: the client's IP address according to the socket (``::ffff:`` removed); empty for a Unix socket.
    :ivar secure: the client came over TLS.
    :ivar http_10: the client speaks HTTP/1.0.
    :ivar user: the client's user name as verified by mpp itself; empty when mpp verifies no users.

    A tuple, because one is made for every request: a tuple takes a third of the time.
    """

    method: bytes
    target: bytes
    headers: Headers
    body: bytes = b""
    peer: str = ""
    secure: bool = False
    http_10: bool = False
    user: bytes = b""


class Standing(enum.IntEnum):
    """The degree of service to expect from a backend, best first: backends are ranked by it before anything else."""

    VIABLE = 0
    """Ready, and answered a real query within a second."""
    BUSY = 1
    """Ready, but its query slots are taken, or mpp got no response to a query from it: used after the viable ones."""
    SUSPECT = 2
    """Requests failed on it, or it was down or not ready a moment ago; too few requests or probes have succeeded since."""
    NOT_READY = 3
    """It reports that it is not ready (start, WAL replay, shutdown), or it answers no queries."""
    DOWN = 4
    """It cannot be reached or does not answer."""


@frozen
class Observation:
    """
    The result of one probe of a backend and of the requests to it since. A failed probe is a value, not an exception.

    :ivar standing: the degree of service to expect from the backend.
    :ivar why: one line for the operator; empty for VIABLE, unless only requests prove it (`mpp.selection.outliers.vouching`).
    :ivar facts: the state that the server last reported; `mpp.core.facts.NO_FACTS` when it was never read.
    :ivar at: when the probe began.
    :ivar took: how long the probe took, in seconds.
    :ivar ejected_at: since when it is out of service, whatever the result of its last probe; 0 while it is in service.
    :ivar replay: the progress of its WAL replay, None while no replay is known.
    :ivar returns: how often it has returned to service; a request compares it with an earlier number to detect a return.
    :ivar refused: it is not ready, but its answer to the probe shows that a server is there, see
        `mpp.selection.probing.interpret.is_refusal`.
    :ivar turned_away: an intermediary may have rejected the probe: it got 429, or a 503 that is not from Prometheus.
    :ivar unproven: it is ready, but rejects the probe's query, so that it may answer no queries; its standing is BUSY.
    :ivar limited: an intermediary rejected requests lately with a 503, although the backend was ready.
    :ivar is_self: it is this mpp itself, and never used, see Note [Instance] in `mpp.core.http.instance`.
    :ivar leaving: its discovery source reports that it is being stopped on purpose. It is NOT_READY only for this reason.
    :ivar ready_took: how long its last answers to ``/-/ready`` took, in seconds, oldest first, of any status; 20 at most.
    :ivar lack: the newest data that it lacks and another server has, see `mpp.coverage.lacks`; None for nothing.
    :ivar gaps: the known gaps in its history, oldest first, see `mpp.coverage.gaps`; not available in workers.
    :ivar unreadable: the error about reading its own storage that it reported in the last ten minutes; empty if it reported none.
    """

    backend: Backend
    standing: Standing
    why: str = ""
    facts: ServerState = NO_FACTS
    at: float = 0.0
    took: float = 0.0
    ejected_at: float = 0.0
    replay: Replay | None = None
    returns: int = field(default=0, eq=False)
    refused: bool = field(default=False, eq=False)
    turned_away: bool = False
    unproven: bool = False
    limited: bool = False
    lack: Lack | None = None
    unreadable: str = ""
    is_self: bool = False
    leaving: bool = False
    ready_took: tuple[float, ...] = field(default=(), eq=False, repr=False)
    gaps: tuple[Gap, ...] = ()

    def history(self, now: float) -> float:
        """Return the time in seconds since its oldest stored sample; 0 when there is none or it is not known."""
        return 0.0 if self.facts.oldest is None else max(0.0, now - self.facts.oldest)

    def lost(self, now: float, seconds: float = float("inf")) -> float:
        """Return the length of the known gaps in the last ``seconds`` of its history; a gap of half the targets counts half."""
        start = now - min(self.history(now), seconds)
        return sum(gap.lost(start, now) for gap in self.gaps)

    def held(self, now: float, seconds: float = float("inf")) -> float:
        """Return the length of its history, ``seconds`` at most, without the known gaps; see `lost`."""
        return max(0.0, min(self.history(now), seconds) - self.lost(now, seconds))


@frozen
class Choice:
    """
    The decision of a strategy.

    :ivar selected: the backends that take traffic, best first.
    :ivar standbys: all other backends, best first: tried in this order when the selected ones fail.
    :ivar degraded: one line when no backends were as the strategy requires and it chose the next best, else empty.
    """

    selected: tuple[Backend, ...] = ()
    standbys: tuple[Backend, ...] = ()
    degraded: str = ""


@frozen
class Selection:
    """
    The state of all backends, as every request uses it. It never changes; each round publishes a new one.

    :ivar generation: 0 before the first round; grows by one whenever ``choice`` changes.
    :ivar choice: the backends that take traffic, and the order of the standbys.
    :ivar observations: in the locators' order, which is the tie-breaker.
    :ivar changed_at: when ``choice`` last changed.
    :ivar sticky: servers to which clients of federation and remote read are assigned, see `mpp.selection.sticky_servers`.
    :ivar past: the Selection for requests that read none of the newest data that servers lack; None while no server lacks any.
    """

    generation: int = 0
    choice: Choice = Choice()
    observations: tuple[Observation, ...] = ()
    changed_at: float = 0.0
    sticky: tuple[Backend, ...] = ()
    past: Selection | None = field(default=None, repr=False)
    selected: tuple[Backend, ...] = field(
        init=False, eq=False, repr=False, default=Factory(lambda self: self.choice.selected, takes_self=True)
    )
    """The backends that take traffic, best first."""
    selected_by_id: Mapping[str, Backend] = field(
        init=False, eq=False, repr=False, default=Factory(lambda self: {each.id: each for each in self.selected}, takes_self=True)
    )
    """The selected backends by their ``id``: made once, used in every request."""
    ranked: tuple[Backend, ...] = field(
        init=False,
        eq=False,
        repr=False,
        default=Factory(lambda self: self.choice.selected + self.choice.standbys, takes_self=True),
    )
    """All known backends: the selected ones, then the standbys, best first."""
    observed: Mapping[Backend, Observation] = field(
        init=False, eq=False, repr=False, default=Factory(lambda self: {o.backend: o for o in self.observations}, takes_self=True)
    )
    """The observations by backend; each failing request looks one up, among hundreds perhaps."""
    prefixes: tuple[str, ...] = field(init=False, eq=False, repr=False)
    """The different path prefixes of all known backends, the longest first; ``("",)`` if none has a prefix."""
    query_slots: Mapping[str, int] = field(init=False, eq=False, repr=False)
    """
    How many queries each server in service runs at once, by its ``id``, as far as that is known. Empty while only one server is
    in service: a query cannot be sent elsewhere then, and can wait in the server's own queue.
    """

    @prefixes.default
    def _prefixes(self) -> tuple[str, ...]:
        return tuple(sorted({backend.prefix for backend in self.ranked}, key=lambda prefix: (-len(prefix), prefix))) or ("",)

    @query_slots.default
    def _query_slots(self) -> Mapping[str, int]:
        served = [o for o in self.observations if o.standing <= Standing.BUSY and not o.ejected_at]
        return {o.backend.id: o.facts.query_slots for o in served if o.facts.query_slots} if len(served) > 1 else {}

    def is_usable(self, backend: Backend) -> bool:
        """Return whether a backend is expected to answer: it takes traffic, or could."""
        if backend.id in self.selected_by_id:
            return True
        observation = self.observed.get(backend)
        return observation is None or observation.standing < Standing.NOT_READY

    def is_in_service(self, backend: Backend) -> bool:
        """Return whether requests may go to a backend that is not their first choice: it is viable or busy, not ejected."""
        return (found := self.observed.get(backend)) is not None and found.standing <= Standing.BUSY and not found.ejected_at

    def lacks(self, backend: Backend) -> bool:
        """Return whether a backend lacks newest data of another one, so that it gets no second request beside a slow backend."""
        return (found := self.observed.get(backend)) is not None and found.lack is not None

    def is_busy(self, backend: Backend) -> bool:
        """Return whether a backend is known to be overloaded."""
        return (found := self.observed.get(backend)) is not None and found.standing is Standing.BUSY and not found.unproven

    def is_limited(self, backend: Backend) -> bool:
        """Return whether an intermediary in front of a backend rejects requests although the backend is ready."""
        return (found := self.observed.get(backend)) is not None and found.limited

    def with_past(self, choice: Choice) -> Selection:
        """Return this Selection with ``choice`` for requests that read none of the newest data that servers lack."""
        whole = tuple(o if o.lack is None else evolve(o, lack=None) for o in self.observations)
        return evolve(self, past=evolve(self, choice=choice, observations=whole, past=None))

    @property
    def lacks_since(self) -> float:
        """The earliest time from which on a server lacks newest data; infinity when none does."""
        return min((o.lack.since for o in self.observations if o.lack is not None), default=float("inf"))

    @property
    def viable(self) -> int:
        """The number of viable backends."""
        return sum(o.standing is Standing.VIABLE for o in self.observations)

    @property
    def last_resort(self) -> bool:
        """Whether no backend is usable, so that the least bad ones serve."""
        return bool(self.observations) and all(o.standing >= Standing.SUSPECT for o in self.observations)
