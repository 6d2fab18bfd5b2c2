"""Which backend would answer a request, and why: for people, for terminals and for programs. Pure."""

from __future__ import annotations

import json
from typing import Any

from attrs import asdict, frozen

from mpp.admin.status.html import explain_form, frame, pairs, text
from mpp.admin.status.identity import Identity
from mpp.core.text.durations import duration
from mpp.core.text.humanize import listing
from mpp.selection.verdict.verdict import BAD, GOOD

SCHEMA = 1


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


def document(explanation: Explanation) -> dict[str, Any]:
    """Give it as values of JSON's."""
    return {"schema": SCHEMA, "verdict": explanation.verdict, **asdict(explanation)}


def as_json(explanation: Explanation) -> bytes:
    """Render it as JSON, ASCII."""
    return json.dumps(document(explanation), indent=2, allow_nan=False).encode() + b"\n"


def as_text(explanation: Explanation) -> bytes:
    """Render it for a terminal, UTF-8. What a client sent cannot steer the terminal."""
    lines = [f"{explanation.method} {explanation.target}", explanation.verdict, *(f"- {why}" for why in explanation.reasons)]
    return "".join("".join(c if c.isprintable() else "\ufffd" for c in line) + "\n" for line in lines).encode()


def nothing_asked(identity: Identity) -> bytes:
    """Render the page of a mpp for who has not asked for anything yet, UTF-8."""
    main = (
        '<section class="verdict good"><p>Who would answer a request?</p><p>Give path and query, or a whole URL.</p></section>'
        f"{explain_form()}"
    )
    return frame("mpp: who would answer?", main, level=GOOD, live=False, identity=identity.described)


def as_page(explanation: Explanation, identity: Identity) -> bytes:
    """Render it as a page of the mpp that would act so, UTF-8."""
    level = explanation.level
    reasons = "".join(f"<li>{text(reason)}</li>" for reason in explanation.reasons)
    listed = [("Request", text(f"{explanation.method} {explanation.target}")), ("From", text(explanation.client or "unknown"))]
    if explanation.next_backends:
        listed.append(("If it fails", text(", ".join(explanation.next_backends))))
    if explanation.deadline_seconds is not None:
        listed.append(("Deadline", duration(explanation.deadline_seconds)))
    main = (
        f'<section class="verdict {level}"><p>{text(explanation.verdict)}</p></section>'
        f"{pairs(listed)}<h2>Why</h2><ol>{reasons}</ol><h2>Another one</h2>{explain_form(explanation.target)}"
        '<p class="soft small">Nothing was sent, and nothing is remembered of this. <a href="status">How the servers are</a></p>'
    )
    return frame(f"mpp: {explanation.verdict}", main, level=level, live=False, identity=identity.described)
