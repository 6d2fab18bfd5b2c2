"""What one attempt to have a request answered came to, and whether another backend is worth a try. Values."""

from __future__ import annotations

import enum

from attrs import frozen

from mpp.core.model import Standing


class Retry(enum.Enum):
    """Whether a read may be tried on another backend."""

    NO = "no"
    ONCE = "once"
    """On one other backend, if this was the first attempt: the same fault may well be there too."""
    YES = "yes"


@frozen
class Outcome:
    """
    What the outcome of one attempt means.

    :ivar reason: short word for metrics and logs.
    :ivar retry: whether a read belongs on another backend.
    :ivar standing: what the backend is worth from now on, or None when its standing is not touched.
    :ivar crash: the server may have died of this very request.
    :ivar resend: nothing was sent, so that even a write may be repeated.
    :ivar busy: the server has more to do than it can: only one that is not busy itself is worth a try.
    :ivar hide_from_client: when no backend is left, the client gets mpp's own error instead of this answer.
    :ivar elsewhere: only a backend that has not been tried is worth a retry, a new selection is not waited for. Unless it is to
        be masked, the client gets this answer when no other backend does better.
    :ivar credentials: mpp's own credentials are refused.
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
