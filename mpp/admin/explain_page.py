"""Which backend would answer a request, and why: for people, for terminals and for programs. Pure."""

from __future__ import annotations

import json
from typing import Any

from attrs import asdict

from mpp.admin.status.html import explain_form, frame, pairs, text
from mpp.admin.status.identity import Identity
from mpp.core.text.durations import duration
from mpp.proxy.decisions.explanation import Explanation
from mpp.selection.verdict.verdict import GOOD

SCHEMA = 1


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
