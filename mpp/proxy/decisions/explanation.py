"""The value that says which backend would respond to a request, and why."""

from __future__ import annotations

from attrs import frozen

from mpp.core.text.humanize import listing
from mpp.selection.verdict.verdict import BAD, GOOD


@frozen
class Explanation:
    """
    What would become of one request.

    :ivar target: its path and query; ``client``: the address that it came from, empty for a Unix socket.
    :ivar outcome: ``forwarded``, ``own`` (mpp answers itself), ``refused`` or ``unavailable`` (no server is known or
        reachable).
    :ivar backends: who would be asked first: one, or several of whom one is taken at random.
    :ivar next_backends: who is tried after that, in order, as far as it is not left to chance; empty for what is sent once.
    :ivar decided_by: ``affinity``, ``strategy`` or ``chance``; empty unless forwarded.
    :ivar affinity: name of the affinity that decided, or empty.
    :ivar read: it may be sent to another backend when one fails.
    :ivar deadline_seconds: for how long its answer may take to begin.
    :ivar reasons: all that in words, in the order of the decision.
    :ivar level: how good that is for the client: ``good``, ``warn`` or ``bad``.
    :ivar servers: how the servers are, in the words of the verdict; empty while that does not matter to the request.
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
        """The answer in a sentence."""
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
