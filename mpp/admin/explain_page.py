"""Renders which backend would receive a request, and why, as HTML, text and JSON. Pure."""

from __future__ import annotations

import json
from typing import Any

from attrs import asdict

from mpp.admin.status.html import explain_form, frame, pairs, text
from mpp.admin.status.identity import Identity
from mpp.core.text.durations import duration
from mpp.proxy.decisions.explain import Explanation
from mpp.selection.verdict.verdict import GOOD

SCHEMA = 1


def document(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON values."""
    return {"schema": SCHEMA, "verdict": explanation.verdict, **asdict(explanation)}


def as_json(explanation: Explanation) -> bytes:
    """Render an explanation as JSON, ASCII."""
    return json.dumps(document(explanation), indent=2, allow_nan=False).encode() + b"\n"


def as_text(explanation: Explanation) -> bytes:
    """Render an explanation for a terminal, UTF-8. Unprintable characters are replaced: they could control it."""
    lines = [f"{explanation.method} {explanation.target}", explanation.verdict, *(f"- {why}" for why in explanation.reasons)]
    return "".join("".join(c if c.isprintable() else "\ufffd" for c in line) + "\n" for line in lines).encode()


def nothing_asked(identity: Identity) -> bytes:
    """Render the page without an explanation, on which a request can be entered, UTF-8."""
    main = (
        '<section class="verdict good"><p>Which server would answer a request?</p>'
        f"<p>Enter a path and query, or a whole URL.</p></section>{explain_form()}"
    )
    return frame("mpp: which server would answer?", main, level=GOOD, live=False, identity=identity.described)


def as_page(explanation: Explanation, identity: Identity) -> bytes:
    """
    Render an explanation as a page, UTF-8.

    :param identity: the mpp that explains its decision.
    """
    level = explanation.level
    reasons = "".join(f"<li>{text(reason)}</li>" for reason in explanation.reasons)
    listed = [("Request", text(f"{explanation.method} {explanation.target}")), ("From", text(explanation.client or "unknown"))]
    if explanation.next_backends:
        listed.append(("If it fails", text(", ".join(explanation.next_backends))))
    if explanation.deadline_seconds is not None:
        listed.append(("Deadline", duration(explanation.deadline_seconds)))
    main = (
        f'<section class="verdict {level}"><p>{text(explanation.verdict)}</p></section>'
        f"{pairs(listed)}<h2>Why</h2><ol>{reasons}</ol><h2>Another request</h2>{explain_form(explanation.target)}"
        '<p class="soft small">No request was sent for this page. <a href="status">Status of the servers</a></p>'
    )
    return frame(f"mpp: {explanation.verdict}", main, level=level, live=False, identity=identity.described)
