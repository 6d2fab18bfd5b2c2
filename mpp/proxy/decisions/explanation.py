"""The value that describes which backend would respond to a request, and why."""

from __future__ import annotations

from attrs import frozen

from mpp.core.text.humanize import listing
from mpp.selection.verdict.verdict import BAD, GOOD


@frozen
class Explanation:
    """
    The explanation of one request.

    :ivar target: the path and query.
    :ivar client: the client's address; empty for a Unix socket.
    :ivar outcome: ``forwarded``, ``own`` (mpp answers itself), ``refused`` or ``unavailable`` (no server is known or
        reachable).
    :ivar reasons: sentences that explain the rest, in the order of the decision.
    :ivar backends: the backend that would be tried first, or several of which one is chosen at random.
    :ivar next_backends: the backends of retries, in order, up to the first random choice; empty for a request that is sent once.
    :ivar decided_by: ``affinity``, ``strategy`` or ``chance``; empty unless forwarded.
    :ivar affinity: the name of the affinity that decided, or empty.
    :ivar read: whether the request may be sent to another backend when one fails.
    :ivar deadline_seconds: the seconds until the response must begin.
    :ivar level: how good the outcome is for the client: ``good``, ``warn`` or ``bad``.
    :ivar servers: the verdict on the servers; empty while it does not matter to the request.
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
            return "mpp would refuse this."
        if self.outcome == "unavailable":
            return f"No server would answer this. {self.servers}".rstrip()
        if self.level == BAD:
            return f"{listing(self.backends)} would be asked for this as a last resort. {self.servers}".rstrip()
        if len(self.backends) == 1:
            return f"{self.backends[0]} would answer this."
        return f"One of {listing(self.backends)} would answer this, taken at random."
