"""A request to the servers for some of the steps of a client's request, or for all of them if none is cached."""

from __future__ import annotations

from typing import Protocol

from twisted.python.failure import Failure

from mpp.proxy.answer import Answer
from mpp.proxy.decisions.local_replies import LocalReply
from mpp.proxy.exchanges.fetch import Fetch
from mpp.wire.whole_response import WholeResponse, counted_for


class SubrequestOwner(Protocol):
    """The request that is divided into subrequests: `mpp.proxy.exchanges.cached_fetch.CachedFetch`."""

    @property
    def began(self) -> float:
        """When the request was complete, by the monotonic clock."""

    def subrequest_answered(self, subrequest: Subrequest, answer: Answer, /) -> None:
        """Handle the response to a subrequest."""

    def subrequest_unanswered(self, subrequest: Subrequest, why: LocalReply, /) -> None:
        """Handle the end of a subrequest without a response."""

    def subrequest_failed(self, failure: Failure, /) -> None:
        """Handle an unexpected failure, which is a bug."""

    def ask(self, subrequest: Subrequest, /, *, alone: bool) -> None:
        """Ask a server for the steps of a subrequest; ``alone``: without sharing the fetch with an equal subrequest."""


class Subrequest:
    """
    A request to the servers for some steps, which waits for the fetch of these.

    :ivar first: the first step.
    :ivar last: the last step (inclusive).
    :ivar whole: its response is delivered as it is, and not cached.
    :ivar fetch: the fetch of these steps; None when it has ended.
    :ivar answer: the response; None until then.
    """

    __slots__ = ("_owner", "answer", "began", "fetch", "first", "last", "whole")

    def __init__(self, owner: SubrequestOwner, first: int, last: int, *, whole: bool = False) -> None:
        self._owner = owner
        self.began = owner.began
        self.first = first
        self.last = last
        self.whole = whole
        self.fetch: Fetch | None = None
        self.answer: Answer | None = None

    def answered(self, answer: Answer) -> None:
        """Keep the response until all subrequests have one."""
        self.fetch = None
        self.answer = answer
        self._owner.subrequest_answered(self, answer)

    def unanswered(self, why: LocalReply, fetch: Fetch) -> None:
        """End the whole request, because no server answers these steps."""
        self._owner.subrequest_unanswered(self, why)

    def failed(self, failure: Failure) -> None:
        """End the whole request on a bug."""
        self._owner.subrequest_failed(failure)

    def again(self, *, alone: bool) -> None:
        """Ask a server for these steps again; ``alone``: without sharing the fetch with an equal subrequest."""
        self._owner.ask(self, alone=alone)

    def forget(self) -> None:
        """Stop waiting for the fetch, or release the response, and remove the reference cycle with the whole request."""
        fetch, self.fetch = self.fetch, None
        if fetch is not None:
            fetch.leave(self)
        elif self.answer is not None:
            self.answer.response.cancel()
        del self._owner


def hand_over(subrequests: list[Subrequest], whole: WholeResponse) -> None:
    """
    Forget subrequests whose responses are joined to a whole one, or are its body.

    As many of their bytes as the whole response has stay counted to the memory budget, until the client has read it or has
    disconnected.
    """
    responses = [each.answer.response for each in subrequests if each.answer is not None]
    whole.released = counted_for(responses, whole.length or 0)
    for each in subrequests:
        each.answer = None
        each.forget()
    subrequests.clear()
