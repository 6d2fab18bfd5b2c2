"""The outcome of one attempt to get a response, and whether a retry on another backend makes sense. Values."""

from __future__ import annotations

import enum

from attrs import frozen

from mpp.core.model import Standing


class Retry(enum.Enum):
    """Whether a read may be retried on another backend."""

    NO = "no"
    ONCE = "once"
    """Only on one other backend, and only after the first attempt: that backend may have the same fault."""
    YES = "yes"


@frozen
class Outcome:
    """
    The outcome of one attempt, and its consequences.

    :ivar reason: the short word for metrics and logs.
    :ivar retry: whether a read may be retried on another backend.
    :ivar standing: the standing to report for the backend, or None for no report.
    :ivar crash: the request may have crashed the server.
    :ivar resend: no byte was sent, so even a write may be repeated.
    :ivar busy: the server is overloaded: the retry goes only to a backend that is not busy.
    :ivar hide_from_client: when no backend is left, the client gets an error response of mpp instead of this response.
    :ivar elsewhere: the retry goes only to a backend that was not tried, and does not wait for a new selection. The client gets
        this response when no other backend has a better one, unless it has to be hidden.
    :ivar credentials: the server rejected the credentials of mpp.
    :ivar storage: the server cannot read a part of its own storage.
    """

    reason: str
    retry: Retry
    standing: Standing | None = None
    crash: bool = False
    resend: bool = False
    busy: bool = False
    hide_from_client: bool = False
    elsewhere: bool = False
    credentials: bool = False
    storage: bool = False


ANSWERED = Outcome("answered", Retry.NO)
